#include "engine/operations/resize.hpp"

namespace cubby::engine {

bool resize_operation::grant(uint32_t index) {
  request &r = at(index);
  const tier_slot &slot = units_.state.tiers[r.tier];
  while (slot.memory->used_bytes() > slot.memory->budget_bytes()) {
    const uint64_t over = slot.memory->used_bytes() - slot.memory->budget_bytes();
    if (slot.leaving_bytes >= over) return false;
    if (!units_.copies.evict_one(r.tier, {}, r.order, true)) return false;
  }
  units_.copies.shrink_memory(r.tier);
  units_.open.complete(index);
  return true;
}

void resize_operation::withdraw(uint32_t index, bool all) {
  if (!all) return;
  request &r = at(index);
  r.first_failure = CUBBY_ERR_CANCELED;
  r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before it was done");
  units_.open.complete(index);
}

}  // namespace cubby::engine
