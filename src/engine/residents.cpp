#include "engine/residents.hpp"

#include <algorithm>
#include <new>
#include <utility>

namespace cubby::engine {
namespace {

/// A tier that demotes keeps at most this share of itself free for what comes next.
constexpr uint64_t reserve_share = 16;
constexpr uint32_t demotions_max = 8;

}  // namespace

void residents::announce(fill &f) {
  if (std::exchange(f.announced, true)) return;
  admission_driver driver(state_, fills_, f.order);
  state_.admission.track(f.to, f.bank->object_base + f.number, driver);
  if (state_.admission.books(f.to).awaits_decision())
    state_.pins.watch(f.to).decisions_wanted.store(true);
}

void residents::admit(uint32_t tier, const locker_bank &bank, uint32_t number) {
  admission_driver driver(state_, fills_);
  state_.admission.admit(tier, bank.object_base + number, driver);
}

void residents::retract(uint32_t tier, const locker_bank &bank, uint32_t number) {
  const uint64_t cost = state_.tiers[tier].memory->cost_bytes(bank.frame_bytes_in(tier, number));
  state_.admission.untrack(tier, bank.object_base + number, cost);
}

bool residents::drop(locker_bank &bank, uint32_t number, uint32_t tier) {
  if (bank.word(tier, number).look().state == locker_state::absent) return true;
  state_.releases.step();  // nobody else looks at streams while nothing is asked for
  admission_driver driver(state_, fills_);
  return state_.admission.evict(tier, bank.object_base + number, placement::departure::dropped,
                                driver);
}

/// A copy that is there for one use only may have waited for that.
void residents::unpin(uint32_t tier, locker_word &word) {
  if (word.unpin() && state_.admission.books(tier).has_undecided()) state_.pins.note_frames();
}

/// What is pinned there is looked at again when it is unpinned.
void residents::drop_lost(uint32_t tier) {
  bool held = false;
  for (locker_bank *bank : state_.banks.in_order()) {
    for (uint32_t number = 0; number < bank->count(); ++number) {
      held = !drop(*bank, number, tier) || held;
    }
  }
  if (held) state_.pins.watch(tier).decisions_wanted.store(true, std::memory_order_seq_cst);
}

bool residents::make_room(uint32_t tier, placement::newcomer wanted,
                          const transfer::urgency &order) {
  admission_driver driver(state_, fills_, order);
  wanted.demand = order.io_class == CUBBY_DEMAND;
  return state_.admission.make_room(tier, wanted, driver);
}

bool residents::win_place(uint32_t tier, const locker_bank &bank, uint32_t number,
                          const transfer::urgency &order) {
  admission_driver driver(state_, fills_, order);
  return state_.admission.win_place(tier, bank.object_base + number, placement::claim::newcomer,
                                    driver);
}

bool residents::evict_one(uint32_t tier, placement::newcomer wanted, const transfer::urgency &order,
                          bool may_demote) {
  admission_driver driver(state_, fills_, order);
  wanted.demand = order.io_class == CUBBY_DEMAND;
  const auto how = may_demote ? placement::departure::demoted : placement::departure::evicted;
  return state_.admission.evict_one(tier, wanted, how, driver);
}

void residents::decide(uint32_t tier) {
  if (!state_.tiers.is_memory(tier)) return;
  admission_driver driver(state_, fills_);
  state_.admission.decide(tier, driver);
  state_.pins.watch(tier).decisions_wanted.store(state_.admission.books(tier).awaits_decision());
}

void residents::keep_reserve() {
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    tier_slot &slot = state_.tiers[tier];
    if (slot.memory == nullptr) continue;
    const uint32_t below = slot.demotes_to;
    if (below == no_tier) continue;
    if (state_.admission.books(tier).policy->chooses()) continue;  // room for probation serves
    if (state_.tiers.copy_path(tier, below).queued_count() != 0) continue;
    if (state_.tiers[below].stand_aside.aside()) continue;
    const uint64_t wanted =
        std::min(slot.largest_set_bytes, slot.memory->budget_bytes() / reserve_share);
    for (uint32_t i = 0; i < demotions_max; ++i) {
      const uint64_t stays = slot.memory->used_bytes() - slot.leaving_bytes;
      if (stays + wanted <= slot.memory->budget_bytes() || slot.leaving_bytes >= wanted) break;
      if (!evict_one(tier, {}, {CUBBY_WRITE_BACK, base::never_ns, state_.next_sequence()}, true)) {
        break;
      }
    }
  }
}

/// Nothing in the tier is pinned, and nothing comes or leaves.
bool residents::at_rest(uint32_t tier) const {
  return state_.tiers[tier].leaving_bytes == 0 && !fills_.touches_tier(tier) &&
         !state_.pins.any_pinned(tier);
}

bool residents::clear_tier(uint32_t tier) {
  if (!at_rest(tier)) return false;
  const transfer::urgency order{CUBBY_DEMAND, base::never_ns, 0};
  while (evict_one(tier, {placement::no_object, base::never_ns}, order, false)) {
  }
  if (state_.tiers[tier].memory->used_bytes() != 0) return false;
  if (state_.tiers[tier].memory->in_pieces()) merge_memory(tier, 0);
  return true;
}

bool residents::make_block(uint32_t tier, uint64_t bytes) {
  return !state_.tiers[tier].memory->has_block_for(bytes) && merge_memory(tier, bytes);
}

void residents::shrink_memory(uint32_t tier) {
  state_.tiers[tier].memory->trim(
      [&](const cubby_backend_memory &block) { state_.tiers.unregister_block(tier, block); });
}

bool residents::merge_memory(uint32_t tier, uint64_t together_bytes) {
  tier_slot &slot = state_.tiers[tier];
  auto merged = slot.memory->merge(
      [&](const cubby_backend_memory &block) { state_.tiers.unregister_block(tier, block); },
      together_bytes);
  if (!merged) state_.log(1, merged.failure().text);
  state_.tiers.register_blocks(tier, 0);
  return merged.ok();
}

/// A tier and the banks, in the order of their object numbers.
placement::tier_view residents::view_of(uint32_t tier) const {
  const tier::memory_tier &memory = *state_.tiers[tier].memory;
  placement::tier_view view;
  view.budget_bytes = memory.budget_bytes();
  view.demotes = state_.tiers[tier].demotes_to != no_tier;
  for (const locker_bank *bank : state_.banks.in_order()) {
    cubby_policy_bank part = {};
    part.struct_size = sizeof part;
    part.kind = bank->desc().kind == CUBBY_BANK_EXPERTS ? CUBBY_POLICY_BANK_EXPERTS
                : bank->desc().kind == CUBBY_BANK_KV    ? CUBBY_POLICY_BANK_KV
                                                        : CUBBY_POLICY_BANK_OTHER;
    part.first_object = bank->object_base;
    part.rows = bank->grid().rows();
    part.columns = bank->grid().columns();
    part.routed_count = bank->desc().routed_count;
    for (uint32_t row = 0; row < bank->grid().rows(); ++row)
      part.object_bytes +=
          memory.cost_bytes(bank->frame_bytes_in(tier, row * bank->grid().columns()));
    part.object_bytes /= std::max(1u, bank->grid().rows());
    view.banks.push_back(part);
    if (part.kind != CUBBY_POLICY_BANK_EXPERTS) continue;
    view.layers.push_back({bank->grid().columns(), std::max(part.routed_count, bank->routed_seen),
                           memory.cost_bytes(bank->frame_bytes_max(bank->layout(tier)))});
  }
  return view;
}

int32_t residents::add_policy(uint32_t tier) {
  const tier_slot &slot = state_.tiers[tier];
  admission_driver driver(state_, fills_);
  return state_.admission.add_tier(tier, slot.rank, slot.is_exclusive(), view_of(tier), driver);
}

bool residents::reconfigure_policies() noexcept try {
  admission_driver driver(state_, fills_);
  bool all = true;
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    tier_slot &slot = state_.tiers[tier];
    if (slot.memory == nullptr) continue;
    all = state_.admission.describe_tier(tier, view_of(tier), driver) && all;
    slot.largest_set_bytes = 0;
    for (const locker_bank *bank : state_.banks.in_order()) {
      const uint64_t bytes =
          std::max(1u, bank->desc().routed_count) * bank->frame_bytes_max(bank->layout(tier));
      slot.largest_set_bytes = std::max(slot.largest_set_bytes, bytes);
    }
  }
  return state_.admission.reconfigure_policies() && all;
} catch (const std::bad_alloc &) {
  return false;
}

void give_up_number(residents &copies, locker_bank &bank, uint32_t number, uint32_t tier) {
  if (tier == no_tier || copies.drop(bank, number, tier)) {
    bank.blocks->give_number(number);
  } else {
    bank.blocks->leaving.push_back(number);  // has room for every number
  }
}

}  // namespace cubby::engine
