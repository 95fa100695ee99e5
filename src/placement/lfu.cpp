#include "placement/lfu.hpp"

#include <limits>

#include "base/assert.hpp"

namespace cubby::placement {

lfu::lfu(const policy_config &config)
    : items_(config.object_count), slots_(config.object_count, no_object) {}

bool lfu::leaves_before(object a, object b) const {
  const item &x = items_[a];
  const item &y = items_[b];
  if (x.count != y.count) return x.count < y.count;
  if (x.last_use != y.last_use) return x.last_use < y.last_use;
  return a < b;
}

void lfu::place(uint32_t slot, object who) {
  slots_[slot] = who;
  items_[who].slot = slot;
}

void lfu::sift_up(uint32_t slot) {
  const object who = slots_[slot];
  while (slot > 0) {
    const uint32_t parent = (slot - 1) / 2;
    if (!leaves_before(who, slots_[parent])) break;
    place(slot, slots_[parent]);
    slot = parent;
  }
  place(slot, who);
}

void lfu::sift_down(uint32_t slot) {
  const object who = slots_[slot];
  for (;;) {
    uint64_t child = uint64_t{2} * slot + 1;
    if (child >= heap_) break;
    if (child + 1 < heap_ && leaves_before(slots_[child + 1], slots_[child])) ++child;
    if (!leaves_before(slots_[child], who)) break;
    place(slot, slots_[child]);
    slot = static_cast<uint32_t>(child);
  }
  place(slot, who);
}

void lfu::end_round() {
  while (heap_ < resident_) sift_up(heap_++);
}

void lfu::age() {
  // Halving merges neighbouring counts, whose order last_use then decides: the heap is made anew.
  for (item &one : items_) one.count /= 2;
  for (uint32_t slot = heap_ / 2; slot-- > 0;) sift_down(slot);
  uses_ = 0;
}

void lfu::visit(std::span<const object> used) {
  end_round();
  for (const object who : used) {
    CUBBY_ASSERT(who < items_.size());
    item &one = items_[who];
    if (one.count < std::numeric_limits<uint32_t>::max()) ++one.count;
    one.last_use = ++clock_;
    if (one.slot != nowhere) sift_down(one.slot);
    if (++uses_ >= uses_per_object * items_.size()) age();
  }
}

void lfu::inserted(object who) {
  CUBBY_ASSERT(who < items_.size());
  end_round();
  if (items_[who].slot != nowhere) return;
  place(resident_, who);
  ++resident_;
  end_round();
}

void lfu::removed(object who) {
  CUBBY_ASSERT(who < items_.size());
  uint32_t slot = items_[who].slot;
  if (slot == nowhere) return;
  items_[who].slot = nowhere;
  if (slot < heap_) {
    --heap_;
    if (slot != heap_) {
      place(slot, slots_[heap_]);
      sift_up(slot);
      sift_down(slot);
    }
    slot = heap_;  // the hole is now the first place behind the heap
  }
  --resident_;
  if (slot != resident_) place(slot, slots_[resident_]);
  slots_[resident_] = no_object;
}

void lfu::begin_victims() { end_round(); }

object lfu::next_victim() {
  if (heap_ == 0) return no_object;
  const object who = slots_[0];
  --heap_;
  if (heap_ > 0) {
    const object last = slots_[heap_];
    place(heap_, who);
    place(0, last);
    sift_down(0);
  }
  return who;
}

void lfu::grow(uint32_t object_count) {
  if (object_count <= items_.size()) return;
  items_.resize(object_count);
  slots_.resize(object_count, no_object);
}

uint64_t lfu::state_bytes() const {
  return sizeof(*this) + items_.capacity() * sizeof(item) + slots_.capacity() * sizeof(object);
}

}  // namespace cubby::placement
