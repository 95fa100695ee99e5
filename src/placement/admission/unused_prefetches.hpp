// The prefetched objects of a tier whose first use is still to come, oldest first. At most 128 of
// them are remembered, so that one byte an object says where an object stands in the list.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "placement/policy.hpp"

namespace cubby::placement {

class unused_prefetches {
 public:
  static constexpr uint8_t capacity = 128;

  void grow(uint32_t object_count) {
    if (object_count > slot_of_.size()) slot_of_.resize(object_count, none);
  }
  /// Of objects that it does not hold.
  void shrink(uint32_t object_count) noexcept {
    if (object_count >= slot_of_.size()) return;
    slot_of_.resize(object_count);
    slot_of_.shrink_to_fit();
  }
  [[nodiscard]] bool empty() const { return count_ == 0; }
  [[nodiscard]] bool full() const { return count_ == capacity; }
  [[nodiscard]] bool holds(cubby_object object) const { return slot_of_[object] != none; }
  [[nodiscard]] cubby_object oldest() const { return slots_[oldest_].object; }
  [[nodiscard]] uint64_t total_bytes() const { return total_bytes_; }

  /// Requires that the list is not full and does not hold the object.
  void add(cubby_object object, uint64_t bytes) {
    const uint8_t at = free_ != none ? free_ : used_slots_++;
    if (free_ != none) free_ = slots_[at].newer;
    slots_[at] = {object, bytes, ++added_, newest_, none};
    (newest_ == none ? oldest_ : slots_[newest_].newer) = at;
    newest_ = at;
    slot_of_[object] = at;
    total_bytes_ += bytes;
    ++count_;
  }
  /// Takes an object out; its bytes, 0 when the list does not hold it.
  uint64_t take(cubby_object object) {
    const uint8_t at = slot_of_[object];
    if (at == none) return 0;
    const slot one = slots_[at];
    (one.older == none ? oldest_ : slots_[one.older].newer) = one.newer;
    (one.newer == none ? newest_ : slots_[one.newer].older) = one.older;
    slots_[at].newer = free_;
    free_ = at;
    slot_of_[object] = none;
    total_bytes_ -= one.bytes;
    --count_;
    return one.bytes;
  }

  /// The newest ones that have `limit_bytes` together: those numbered from the result on.
  [[nodiscard]] uint64_t newest_within(uint64_t limit_bytes) const {
    uint64_t bytes = 0, since = added_ + 1;
    for (uint8_t at = newest_; at != none; at = slots_[at].older) {
      bytes += slots_[at].bytes;
      if (bytes > limit_bytes) break;
      since = slots_[at].number;
    }
    return since;
  }
  [[nodiscard]] bool holds_since(cubby_object object, uint64_t since) const {
    return holds(object) && slots_[slot_of_[object]].number >= since;
  }

 private:
  static constexpr uint8_t none = 0xFF;
  struct slot {
    cubby_object object;
    uint64_t bytes, number;
    uint8_t older, newer;  // `newer` of a free slot is the next free one
  };
  std::vector<uint8_t> slot_of_;
  std::array<slot, capacity> slots_{};
  uint64_t added_ = 0, total_bytes_ = 0;
  uint8_t oldest_ = none, newest_ = none, free_ = none, used_slots_ = 0, count_ = 0;
};

}  // namespace cubby::placement
