// A bounded queue for many producers and many consumers, after D. Vyukov's "Bounded MPMC queue"
// (1024cores.net): one atomic sequence a cell tells whose turn it is. Full and empty are answers,
// never waits; nothing is allocated after construction. Both answers may be transient: a thread
// that is between its two steps makes the queue look full, or empty, to others. So they are for
// what may be lost or looked at again; all else belongs in an index_list.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <type_traits>

#include "base/assert.hpp"

namespace cubby::base {

template <class T>
class bounded_queue {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  /// `capacity` is a power of two, at least 2.
  explicit bounded_queue(size_t capacity)
      : mask_(capacity - 1), cells_(std::make_unique<cell[]>(capacity)) {
    CUBBY_ASSERT(capacity >= 2 && (capacity & mask_) == 0);
    for (size_t i = 0; i < capacity; ++i) cells_[i].sequence.store(i, std::memory_order_relaxed);
  }

  /// False when full; the value is then not stored.
  [[nodiscard]] bool push(const T &value) noexcept {
    return push_in_place([&](T &place) { place = value; });
  }

  /// The same; `fill` writes the value where it will lie, over whatever lies there.
  template <class Fill>
  [[nodiscard]] bool push_in_place(const Fill &fill) noexcept {
    size_t position = tail_.load(std::memory_order_relaxed);
    for (;;) {
      cell &here = cells_[position & mask_];
      const size_t sequence = here.sequence.load(std::memory_order_acquire);
      const auto distance = static_cast<std::ptrdiff_t>(sequence - position);
      if (distance < 0) return false;
      if (distance > 0) {
        position = tail_.load(std::memory_order_relaxed);
      } else if (tail_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        fill(here.value);
        here.sequence.store(position + 1, std::memory_order_release);
        return true;
      }
    }
  }

  /// One behind the other, nothing between them; false where there is no room for all, and then
  /// none is stored. `count` is at least 1 and at most capacity().
  [[nodiscard]] bool push_all(const T *values, size_t count) noexcept {
    CUBBY_ASSERT(count != 0 && count <= capacity());
    size_t position = tail_.load(std::memory_order_relaxed);
    for (;;) {
      // What is free stays free until the tail goes past it.
      std::ptrdiff_t distance = 0;
      for (size_t i = 0; i < count && distance == 0; ++i) {
        const cell &here = cells_[(position + i) & mask_];
        const size_t sequence = here.sequence.load(std::memory_order_acquire);
        distance = static_cast<std::ptrdiff_t>(sequence - (position + i));
      }
      if (distance < 0) return false;
      if (distance > 0) {
        position = tail_.load(std::memory_order_relaxed);
      } else if (tail_.compare_exchange_weak(position, position + count,
                                             std::memory_order_relaxed)) {
        for (size_t i = 0; i < count; ++i) {
          cell &here = cells_[(position + i) & mask_];
          here.value = values[i];
          here.sequence.store(position + i + 1, std::memory_order_release);
        }
        return true;
      }
    }
  }

  /// False when empty. A value whose producer is between its two steps hides those behind it until
  /// it is there.
  [[nodiscard]] bool pop(T &out) noexcept {
    size_t position = head_.load(std::memory_order_relaxed);
    for (;;) {
      cell &here = cells_[position & mask_];
      const size_t sequence = here.sequence.load(std::memory_order_acquire);
      const auto distance = static_cast<std::ptrdiff_t>(sequence - (position + 1));
      if (distance < 0) return false;
      if (distance > 0) {
        position = head_.load(std::memory_order_relaxed);
      } else if (head_.compare_exchange_weak(position, position + 1, std::memory_order_relaxed)) {
        out = here.value;
        here.sequence.store(position + mask_ + 1, std::memory_order_release);
        return true;
      }
    }
  }

  /// Would pop() find nothing? To the one consumer a yes is exact, but for what comes meanwhile.
  [[nodiscard]] bool looks_empty() const noexcept {
    return head_.load(std::memory_order_relaxed) == tail_.load(std::memory_order_relaxed);
  }

  [[nodiscard]] size_t capacity() const noexcept { return mask_ + 1; }

 private:
  struct cell {
    std::atomic<size_t> sequence{0};
    T value{};
  };

  const size_t mask_;
  const std::unique_ptr<cell[]> cells_;
  alignas(64) std::atomic<size_t> tail_{0};
  alignas(64) std::atomic<size_t> head_{0};
};

}  // namespace cubby::base
