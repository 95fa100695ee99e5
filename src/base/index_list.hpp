// Lists of small indices that many threads share without a lock. Each index is in a list at most
// once, so a list never is full, and pop() finds nothing only where nothing is there: neither
// answer can be an accident of another thread's timing.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>

#include "base/assert.hpp"

namespace cubby::base {

inline constexpr uint32_t no_list_index = ~uint32_t{0};

/// Last in, first out. Many producers, many consumers; nothing is allocated after construction.
class index_stack {
 public:
  /// Of indices below `capacity`.
  explicit index_stack(uint32_t capacity)
      : capacity_(capacity), below_(std::make_unique<std::atomic<uint32_t>[]>(capacity)) {}

  void push(uint32_t index) noexcept {
    CUBBY_ASSERT(index < capacity_);
    uint64_t old = head_.load(std::memory_order_relaxed);
    uint64_t fresh = 0;
    do {
      below_[index].store(static_cast<uint32_t>(old), std::memory_order_relaxed);
      fresh = changed(old, index + 1);
    } while (!head_.compare_exchange_weak(old, fresh, std::memory_order_release,
                                          std::memory_order_relaxed));
  }

  /// no_list_index when there is none.
  [[nodiscard]] uint32_t pop() noexcept {
    uint64_t old = head_.load(std::memory_order_acquire);
    while (static_cast<uint32_t>(old) != 0) {
      const uint32_t index = static_cast<uint32_t>(old) - 1;
      // What is read here may be stale; the change counter then fails the step.
      const uint64_t fresh = changed(old, below_[index].load(std::memory_order_relaxed));
      if (head_.compare_exchange_weak(old, fresh, std::memory_order_acquire)) return index;
    }
    return no_list_index;
  }

  /// All there are become the caller's: the newest, behind which below() leads to the others.
  [[nodiscard]] uint32_t take_all() noexcept {
    uint64_t old = head_.load(std::memory_order_acquire);
    while (!head_.compare_exchange_weak(old, changed(old, 0), std::memory_order_acquire)) {
    }
    return static_cast<uint32_t>(old) - 1;
  }
  [[nodiscard]] uint32_t below(uint32_t index) const noexcept {
    return below_[index].load(std::memory_order_relaxed) - 1;
  }

 private:
  static uint64_t changed(uint64_t old, uint32_t place) { return ((old >> 32) + 1) << 32 | place; }

  const uint32_t capacity_;
  const std::unique_ptr<std::atomic<uint32_t>[]> below_;  // index + 1 of the one pushed before it
  alignas(64) std::atomic<uint64_t> head_{0};             // change counter << 32 | index + 1
};

/// First in, first out, for many producers and one consumer.
class index_inbox {
 public:
  explicit index_inbox(uint32_t capacity)
      : came_(capacity), behind_(std::make_unique<uint32_t[]>(capacity)) {}

  void push(uint32_t index) noexcept { came_.push(index); }

  /// The consumer's. no_list_index when there is none.
  [[nodiscard]] uint32_t pop() noexcept {
    if (first_ == no_list_index) {
      for (uint32_t index = came_.take_all(); index != no_list_index;) {
        const uint32_t older = came_.below(index);
        behind_[index] = first_;
        first_ = index;
        index = older;
      }
    }
    const uint32_t index = first_;
    if (index != no_list_index) first_ = behind_[index];
    return index;
  }

 private:
  index_stack came_;
  const std::unique_ptr<uint32_t[]> behind_;  // in the order of coming
  uint32_t first_ = no_list_index;
};

}  // namespace cubby::base
