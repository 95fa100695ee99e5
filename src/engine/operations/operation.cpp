#include "engine/operations/operation.hpp"

namespace cubby::engine {

void operation::begin(uint32_t) {}

bool operation::expire(uint32_t) { return false; }

bool operation::refuse_impossible(uint32_t) { return false; }

uint64_t operation::cost_of(const request &r, const request_item &item) const {
  const tier::memory_tier &memory = *units_.state.tiers[r.tier].memory;
  return memory.cost_bytes(item.bank->frame_bytes_in(r.tier, item.number));
}

error operation::beyond_budget(const request &r, uint64_t needed) const {
  using ull = unsigned long long;
  const tier_slot &slot = units_.state.tiers[r.tier];
  error why = fail(CUBBY_ERR_BUDGET,
                   "tier %s: the set needs %llu bytes at once, and the budget was lowered to %llu; "
                   "raise the budget to %llu, or pin fewer lockers together",
                   slot.name.c_str(), static_cast<ull>(needed),
                   static_cast<ull>(slot.memory->budget_bytes()), static_cast<ull>(needed));
  why.tier = slot.handle;
  why.needed_bytes = needed;
  return why;
}

void operation::withdraw_all_items(uint32_t index) {
  request &r = at(index);
  if (!mark_withdrawn(index, [](uint32_t) { return true; })) return;
  r.first_failure = CUBBY_ERR_CANCELED;
  r.failure = fail(CUBBY_ERR_CANCELED, "the request was withdrawn before all of it came");
  units_.open.complete_if_over(index);
}

void operation::tier_lost(uint32_t index) {
  fail_waiting_items(index, lost_tier(units_.state.tiers[at(index).tier]));
  units_.open.complete_if_over(index);
}

void operation::out_of_memory(uint32_t index) {
  request &r = at(index);
  fail_waiting_items(index, no_memory());
  if (!units_.open.is_open(index) || r.open_count != 0) return;
  if (r.first_failure == CUBBY_OK) {
    r.failure = no_memory();
    r.first_failure = r.failure.status;
  }
  units_.open.complete(index);
}

void operation::fail_waiting_items(uint32_t index, const error &why) {
  for (uint32_t i = 0; i < at(index).items.size(); ++i) {
    if (at(index).items[i].state != item_state::waiting) continue;
    let_go(index, i);
    units_.open.mark_failed(index, i, why);
  }
}

}  // namespace cubby::engine
