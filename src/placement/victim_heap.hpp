// A binary heap of resident objects by a policy's own order, least worth keeping on top. A round
// takes proposed objects out of the heap and keeps those the caller passed over behind it, until
// the next call that needs them back.
#pragma once

#include <cubby/policy.h>

#include <cstdint>
#include <vector>

namespace cubby::placement {

/// `leaves_before(a, b)` is the order; the code that changes an object's rank calls moved(). Every
/// call is O(log n).
class victim_heap {
 public:
  static constexpr uint32_t nowhere = ~uint32_t{0};

  explicit victim_heap(uint32_t object_count)
      : slot_of_(object_count, nowhere), slots_(object_count) {}

  [[nodiscard]] bool holds(cubby_object object) const { return slot_of_[object] != nowhere; }
  [[nodiscard]] uint32_t size() const { return resident_; }

  template <class Order>
  void end_round(const Order &leaves_before) {
    while (heap_ < resident_) sift_up(heap_++, leaves_before);
  }

  template <class Order>
  void insert(cubby_object object, const Order &leaves_before) {
    end_round(leaves_before);
    if (holds(object)) return;
    place(resident_++, object);
    end_round(leaves_before);
  }

  /// After the rank of an object changed, outside a round.
  template <class Order>
  void moved(cubby_object object, const Order &leaves_before) {
    if (!holds(object)) return;
    sift_up(slot_of_[object], leaves_before);
    sift_down(slot_of_[object], leaves_before);
  }

  template <class Order>
  void remove(cubby_object object, const Order &leaves_before) {
    uint32_t slot = slot_of_[object];
    if (slot == nowhere) return;
    slot_of_[object] = nowhere;
    if (slot < heap_) {
      --heap_;
      if (slot != heap_) {
        const cubby_object last = slots_[heap_];
        place(slot, last);
        sift_up(slot, leaves_before);
        sift_down(slot_of_[last], leaves_before);
      }
      slot = heap_;  // the hole is now the first place behind the heap
    }
    --resident_;
    if (slot != resident_) place(slot, slots_[resident_]);
  }

  template <class Order>
  cubby_object next(const Order &leaves_before) {
    if (heap_ == 0) return CUBBY_NO_OBJECT;
    const cubby_object object = slots_[0];
    --heap_;
    if (heap_ > 0) {
      const cubby_object last = slots_[heap_];
      place(heap_, object);
      place(0, last);
      sift_down(0, leaves_before);
    }
    return object;
  }

  /// After every rank may have changed.
  template <class Order>
  void rebuild(const Order &leaves_before) {
    end_round(leaves_before);
    for (uint32_t slot = heap_ / 2; slot-- > 0;) sift_down(slot, leaves_before);
  }

  void grow(uint32_t object_count) {
    if (object_count <= slots_.size()) return;
    slot_of_.resize(object_count, nowhere);
    slots_.resize(object_count);
  }
  [[nodiscard]] uint64_t bytes() const {
    return (slot_of_.capacity() + slots_.capacity()) * sizeof(uint32_t);
  }

 private:
  void place(uint32_t slot, cubby_object object) {
    slots_[slot] = object;
    slot_of_[object] = slot;
  }

  template <class Order>
  void sift_up(uint32_t slot, const Order &leaves_before) {
    const cubby_object object = slots_[slot];
    while (slot > 0) {
      const uint32_t parent = (slot - 1) / 2;
      if (!leaves_before(object, slots_[parent])) break;
      place(slot, slots_[parent]);
      slot = parent;
    }
    place(slot, object);
  }

  template <class Order>
  void sift_down(uint32_t slot, const Order &leaves_before) {
    if (slot >= heap_) return;
    const cubby_object object = slots_[slot];
    for (;;) {
      uint64_t child = uint64_t{2} * slot + 1;
      if (child >= heap_) break;
      if (child + 1 < heap_ && leaves_before(slots_[child + 1], slots_[child])) ++child;
      if (!leaves_before(slots_[child], object)) break;
      place(slot, slots_[child]);
      slot = static_cast<uint32_t>(child);
    }
    place(slot, object);
  }

  std::vector<uint32_t> slot_of_;
  std::vector<cubby_object> slots_;  // [0, heap_) heap, [heap_, resident_) proposed in this round
  uint32_t heap_ = 0;
  uint32_t resident_ = 0;
};

}  // namespace cubby::placement
