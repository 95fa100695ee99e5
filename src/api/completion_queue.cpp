#include "api/completion_queue.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>

namespace {

struct registry {
  std::mutex mutex;
  std::vector<std::unique_ptr<cubby_cq>> living;
};

/// Never destroyed: queues may be removed by destructors that run late.
registry &all_queues() {
  static auto *const all = new registry;
  return *all;
}

}  // namespace

cubby_cq::cubby_cq(cubby::api::runtime &rt, uint32_t capacity, int fd)
    : rt_(&rt), ring_(capacity), fd_(fd) {}

cubby_cq::~cubby_cq() { ::close(fd_); }

bool cubby_cq::reserve() {
  const std::lock_guard lock(mutex_);
  if (reserved_ == ring_.size()) return false;
  ++reserved_;
  return true;
}

void cubby_cq::unreserve() {
  const std::lock_guard lock(mutex_);
  --reserved_;
}

void cubby_cq::push(const entry &one) {
  const std::lock_guard lock(mutex_);
  CUBBY_ASSERT(count_ < ring_.size());
  ring_[(head_ + count_++) % ring_.size()] = one;
  if (count_ == 1 && watched_) eventfd_write(fd_, 1);
}

int cubby_cq::descriptor() {
  const std::lock_guard lock(mutex_);
  if (!watched_ && count_ != 0) eventfd_write(fd_, 1);
  watched_ = true;
  return fd_;
}

uint32_t cubby_cq::take(cubby_done *out, uint32_t max_count) {
  const std::lock_guard whole(taking_);
  uint32_t taken = 0;
  for (bool more = true; more;) {
    std::array<uint32_t, 64> requests;
    uint32_t count = 0;
    {
      const std::lock_guard lock(mutex_);
      while (count < requests.size() && taken < max_count && count_ != 0) {
        out[taken++] = ring_[head_].done;
        requests[count++] = ring_[head_].request_index;
        head_ = (head_ + 1) % static_cast<uint32_t>(ring_.size());
        --count_;
      }
      reserved_ -= count;
      more = taken < max_count && count_ != 0;
      if (count != 0 && count_ == 0 && watched_) {
        eventfd_t ignored = 0;
        eventfd_read(fd_, &ignored);
      }
    }
    for (uint32_t i = 0; rt_ != nullptr && i < count; ++i) rt_->taken(requests[i]);
  }
  return taken;
}

bool cubby_cq::empty() {
  const std::lock_guard lock(mutex_);
  return count_ == 0;
}

bool cubby_cq::unused() {
  const std::lock_guard whole(taking_);
  const std::lock_guard lock(mutex_);
  return reserved_ == 0 || rt_ == nullptr;
}

cubby::api::runtime *cubby_cq::owner() {
  const std::lock_guard whole(taking_);
  return rt_;
}

cubby::api::runtime *cubby_cq::hold_owner() {
  const std::lock_guard whole(taking_);
  if (rt_ != nullptr) rt_->waiting_calls.fetch_add(1, std::memory_order_seq_cst);
  return rt_;
}

void cubby_cq::let_go(cubby::api::runtime *held) {
  held->waiting_calls.fetch_sub(1, std::memory_order_release);
}

void cubby_cq::outlive() {
  const std::lock_guard whole(taking_);
  rt_ = nullptr;
}

void cubby_cq::enlist(std::unique_ptr<cubby_cq> made) {
  const std::lock_guard lock(all_queues().mutex);
  all_queues().living.push_back(std::move(made));
}

void cubby_cq::remove(cubby_cq *one) {
  const std::lock_guard lock(all_queues().mutex);
  std::erase_if(all_queues().living, [&](const auto &each) { return each.get() == one; });
}

bool cubby_cq::is_living(const cubby_cq *one) {
  const std::lock_guard lock(all_queues().mutex);
  const auto &living = all_queues().living;
  return std::any_of(living.begin(), living.end(),
                     [&](const auto &each) { return each.get() == one; });
}

void cubby_cq::outlive(cubby::api::runtime &rt) {
  const std::lock_guard lock(all_queues().mutex);
  for (const auto &each : all_queues().living) {
    if (each->owner() == &rt) each->outlive();
  }
}
