// Lockers that could not be read, and until when a match passes over their keys: a caller that asks
// again at once would be offered them for ever. One thread writes, any thread reads without a lock.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <new>

namespace cubby::directory {

class withheld_lockers {
 public:
  explicit withheld_lockers(uint32_t locker_count) : locker_count_(locker_count) {}

  // The writer.

  /// Without memory for the first of them the locker stays offered.
  void withhold(uint32_t locker, uint64_t until_ns) noexcept {
    if (until_ns_ == nullptr) until_ns_.reset(new (std::nothrow) moment[locker_count_]{});
    if (until_ns_ == nullptr) return;
    until_ns_[locker].store(until_ns, std::memory_order_relaxed);
    seen_.store(until_ns_.get(), std::memory_order_release);
  }
  void offer(uint32_t locker) noexcept {
    if (until_ns_ != nullptr) until_ns_[locker].store(0, std::memory_order_relaxed);
  }
  [[nodiscard]] uint64_t bytes() const noexcept {
    return until_ns_ == nullptr ? 0 : uint64_t{locker_count_} * sizeof(moment);
  }

  // Any thread.

  /// Was there ever one? If not, nobody needs to look at the clock.
  [[nodiscard]] bool any() const noexcept {
    return seen_.load(std::memory_order_acquire) != nullptr;
  }
  [[nodiscard]] bool is_withheld(uint32_t locker, uint64_t now_ns) const noexcept {
    const moment *const until_ns = seen_.load(std::memory_order_acquire);
    return until_ns != nullptr && until_ns[locker].load(std::memory_order_relaxed) > now_ns;
  }

 private:
  using moment = std::atomic<uint64_t>;

  uint32_t locker_count_;
  std::unique_ptr<moment[]> until_ns_;  // made for the first
  std::atomic<const moment *> seen_{nullptr};
};

}  // namespace cubby::directory
