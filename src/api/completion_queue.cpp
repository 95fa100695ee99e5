#include "api/completion_queue.hpp"

#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "base/assert.hpp"

namespace {

struct registry {
  std::mutex mutex;
  std::vector<std::shared_ptr<cubby_cq>> living;
  std::atomic<uint32_t> forks{0};    // that lead to this process
  std::atomic<uint64_t> changes{1};  // of `living`, and of which process this is
};

/// What a thread has last found there; good until something changes.
struct seen_queue {
  const cubby_cq *queue = nullptr;
  uint64_t change = 0;
};
thread_local constinit seen_queue last_seen;

/// Never destroyed: queues may be removed by destructors that run late. Made as the library is
/// loaded, so that no fork finds it half made.
registry &all = *[] {
  auto *const made = new registry;
  // A child is not to inherit the lock from a thread that it does not have.
  ::pthread_atfork([] { all.mutex.lock(); }, [] { all.mutex.unlock(); },
                   [] {
                     all.forks.fetch_add(1);
                     all.changes.fetch_add(1);
                     all.mutex.unlock();
                   });
  return made;
}();

}  // namespace

cubby_cq::cubby_cq(cubby::api::queue_owner &owner, uint32_t capacity)
    : owner_(&owner), ring_(capacity), process_(all.forks.load()) {}

cubby_cq::~cubby_cq() {
  if (fd_ >= 0) ::close(fd_);
}

cubby::result<void> cubby_cq::open() {
  fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (fd_ >= 0) return {};
  return cubby::fail_errno(errno, "a descriptor for the queue could not be had; raise ulimit -n");
}

bool cubby_cq::forked() const { return process_ != all.forks.load(); }

bool cubby_cq::reserve() {
  uint32_t places = places_.load(std::memory_order_relaxed);
  do {
    if (places >= ring_.size()) return false;  // also what was removed
  } while (!places_.compare_exchange_weak(places, places + 1, std::memory_order_seq_cst));
  return true;
}

void cubby_cq::unreserve() { places_.fetch_sub(1, std::memory_order_seq_cst); }

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
      places_.fetch_sub(count, std::memory_order_seq_cst);
      more = taken < max_count && count_ != 0;
      if (count != 0 && count_ == 0 && watched_) {
        eventfd_t ignored = 0;
        eventfd_read(fd_, &ignored);
      }
    }
    cubby::api::queue_owner *const owner = owner_.load();
    if (owner != nullptr && count != 0) owner->taken({requests.data(), count});
  }
  return taken;
}

bool cubby_cq::empty() {
  const std::lock_guard lock(mutex_);
  return count_ == 0;
}

bool cubby_cq::retire() {
  const std::lock_guard whole(taking_);
  uint32_t places = places_.load(std::memory_order_seq_cst);
  do {
    if ((places & removed_bit) != 0 || (places != 0 && owner_ != nullptr)) return false;
  } while (!places_.compare_exchange_weak(places, places | removed_bit, std::memory_order_seq_cst));
  return true;
}

cubby::api::queue_owner *cubby_cq::hold_owner() {
  const std::lock_guard whole(taking_);
  cubby::api::queue_owner *const owner = owner_.load();
  if (owner != nullptr) owner->waiting_calls.fetch_add(1, std::memory_order_seq_cst);
  return owner;
}

void cubby_cq::let_go(cubby::api::queue_owner *held) {
  held->waiting_calls.fetch_sub(1, std::memory_order_release);
}

void cubby_cq::outlive() {
  const std::lock_guard whole(taking_);
  owner_ = nullptr;
}

void cubby_cq::enlist(const std::shared_ptr<cubby_cq> &made) {
  const std::lock_guard lock(all.mutex);
  all.living.push_back(made);
  all.changes.fetch_add(1, std::memory_order_seq_cst);
}

void cubby_cq::remove(const cubby_cq *one) {
  const std::lock_guard lock(all.mutex);
  std::erase_if(all.living, [&](const auto &each) { return each.get() == one; });
  all.changes.fetch_add(1, std::memory_order_seq_cst);
}

std::shared_ptr<cubby_cq> cubby_cq::find(const cubby_cq *one) {
  const std::lock_guard lock(all.mutex);
  for (const auto &each : all.living) {
    if (each.get() == one) return each;
  }
  return nullptr;
}

bool cubby_cq::is_living(const cubby_cq *one) {
  seen_queue &seen = last_seen;
  if (seen.queue == one && seen.change == all.changes.load(std::memory_order_seq_cst)) return true;
  const std::lock_guard lock(all.mutex);
  const bool found = std::any_of(all.living.begin(), all.living.end(), [&](const auto &each) {
    return each.get() == one && !each->forked();
  });
  if (found) seen = {one, all.changes.load(std::memory_order_seq_cst)};
  return found;
}

void cubby_cq::outlive(cubby::api::queue_owner &owner) {
  const std::lock_guard lock(all.mutex);
  for (const auto &each : all.living) {
    if (!each->forked() && each->owner() == &owner) each->outlive();
  }
}
