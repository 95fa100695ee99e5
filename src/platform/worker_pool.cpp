#include "platform/worker_pool.hpp"

#include <algorithm>
#include <exception>

#include "platform/affinity.hpp"
#include "platform/signals.hpp"

namespace cubby::platform {

thread_pool::thread_pool(uint32_t thread_count)
    : thread_count_(std::clamp(thread_count, 1u, std::max(2u, usable_cpu_count()) - 1)) {
  waiting_.reserve(thread_count_);
  threads_.reserve(thread_count_);
}

thread_pool::~thread_pool() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  changed_.notify_all();
  for (std::thread &one : threads_) one.join();
}

bool thread_pool::enqueue(const std::shared_ptr<work_item> &one) noexcept try {
  {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(one);
    if (waiting_.size() > idle_count_ && !start_one() && threads_.empty()) {
      waiting_.pop_back();
      return false;
    }
  }
  changed_.notify_one();
  return true;
} catch (const std::exception &) {
  return false;
}

/// False where no other thread can be had: those that run do the work.
bool thread_pool::start_one() noexcept try {
  if (threads_.size() == thread_count_) return false;
  const signals_blocked blocked;
  threads_.emplace_back([this] { work(); });
  return true;
} catch (const std::exception &) {
  return false;
}

void thread_pool::work() noexcept {
  std::unique_lock lock(mutex_);
  while (!closed_) {
    if (waiting_.empty()) {
      ++idle_count_;
      changed_.wait(lock);
      --idle_count_;
      continue;
    }
    const std::shared_ptr<work_item> one = std::move(waiting_.front());
    waiting_.erase(waiting_.begin());
    lock.unlock();
    one->run();
    lock.lock();
  }
}

}  // namespace cubby::platform
