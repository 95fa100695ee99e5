#include "engine/eviction.hpp"

#include <algorithm>

#include "base/erase_one.hpp"
#include "base/mutant.hpp"
#include "engine/pinned.hpp"

namespace cubby::engine {
namespace {

/// How many of the policy's first choices are looked at for one whose going makes a hole that fits.
constexpr uint32_t choices_max = 8;
/// A tier that demotes keeps at most this share of itself free for what comes next.
constexpr uint64_t reserve_share = 16;
constexpr uint32_t demotions_max = 8;
/// How often a pinned probationary locker is looked at before it is taken for one that stays.
constexpr uint64_t rounds_max = 256;

}  // namespace

/// Of a tier without a policy: whoever comes next by number, each once.
placement::object eviction::next_by_number(uint32_t tier, uint32_t &looked) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  while (looked++ < state_.banks.object_count()) {
    here.last_by_number = (here.last_by_number + 1) % state_.banks.object_count();
    uint32_t number = 0;
    const locker_bank *bank = state_.banks.of_object(here.last_by_number, number);
    if (bank != nullptr && copies_.is_tracked(tier, *bank, number)) return here.last_by_number;
  }
  return placement::no_object;
}

/// The least worth keeping that may go, besides those; among the first few, one whose going makes
/// a hole of `bytes`.
placement::object eviction::choose_victim(uint32_t tier, const newcomer &wanted,
                                          bool spare_prefetched,
                                          const std::vector<placement::object> &besides) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  uint64_t spared_bytes = 0;
  size_t first_spared = here.prefetched.size();
  while (spare_prefetched && first_spared != 0) {
    spared_bytes += here.prefetched[first_spared - 1].bytes;
    if (spared_bytes > slot.memory->budget_bytes() / spared_share) break;
    --first_spared;
  }
  const auto spared = [&](placement::object object) {
    return spare_prefetched &&
           std::any_of(here.prefetched.begin() + static_cast<std::ptrdiff_t>(first_spared),
                       here.prefetched.end(),
                       [&](const auto &one) { return one.object == object; });
  };
  placement::object choice = placement::no_object;
  uint32_t looked = 0, named = 0, turns = 0;
  here.policy->begin_victims(wanted.object, wanted.bytes, state_.now_ns);
  for (;;) {
    const placement::object object =
        here.round_robin ? next_by_number(tier, turns) : here.policy->next_victim();
    if (object == placement::no_object) {
      const bool all_named = here.round_robin || named >= here.tracked_count;
      if (choice != placement::no_object || all_named) return choice;
      copies_.replace_policy(
          tier, format_text("next_victim() ended a round after %u of %u residents", named,
                            here.tracked_count));
      return choose_victim(tier, wanted, spare_prefetched, besides);
    }
    uint32_t number = 0;
    locker_bank *bank = state_.banks.of_object(object, number);
    const locker_word::view word =
        bank == nullptr ? locker_word::view{} : bank->word(tier, number).look();
    const bool unknown = bank == nullptr || !copies_.is_tracked(tier, *bank, number);
    if (unknown || ++named > state_.banks.object_count()) {
      copies_.replace_policy(
          tier, unknown
                    ? format_text("next_victim() named object %u, which is not resident", object)
                    : "next_victim() goes on naming objects without end");
      return choose_victim(tier, wanted, spare_prefetched, besides);
    }
    const bool stays =
        word.state == locker_state::ready && copies_.is_admitted(tier, *bank, number);
    const bool free_to_go = stays && (word.pin_count == 0 || CUBBY_MUTANT(reuse_pinned_frame));
    if (!free_to_go || spared(object)) continue;
    if (std::find(besides.begin(), besides.end(), object) != besides.end()) continue;
    if (choice == placement::no_object) choice = object;
    const uint64_t frame_bytes = bank->frame_bytes_in(tier, number);
    if (wanted.bytes == 0 || slot.memory->would_fit(word.frame, frame_bytes, wanted.bytes)) {
      return object;
    }
    if (++looked == choices_max) return choice;
  }
}

/// Who would have to leave for this one to stay. All are asked about before anybody goes: false
/// when one of them is worth more.
bool eviction::find_victims(uint32_t tier, const newcomer &wanted, uint64_t cost, bool must,
                            std::vector<placement::object> &leaving) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  const uint64_t budget_bytes = copies_.admitted_budget_bytes(tier);
  leaving.clear();
  if (cost > budget_bytes) return false;
  uint64_t kept_bytes = here.admitted_bytes;
  while (kept_bytes + cost > budget_bytes) {
    const placement::object victim = choose_victim(tier, wanted, true, leaving);
    if (victim == placement::no_object) return false;
    if (!must && !here.policy->admit(wanted.object, victim)) return false;
    uint32_t number = 0;
    const locker_bank *bank = state_.banks.of_object(victim, number);
    kept_bytes -= slot.memory->cost_bytes(bank->frame_bytes_in(tier, number));
    leaving.push_back(victim);
  }
  return true;
}

/// More guests than there is room kept free push out kept lockers. Who takes the place of one
/// of those has to be worth more than the least of the others.
bool eviction::fits_beside(uint32_t tier, placement::object object, uint64_t cost) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  const uint64_t room = copies_.admitted_budget_bytes(tier) - here.admitted_bytes;
  here.taken_bytes = std::min(here.taken_bytes, room);
  if (room - here.taken_bytes >= cost) return true;
  const placement::object least = choose_victim(tier, {object, 0}, true);
  if (least != placement::no_object && !here.policy->admit(object, least)) return false;
  here.taken_bytes -= std::min(here.taken_bytes, cost);
  return true;
}

/// True when one that is to stay may have its place now: within what is kept, and only at the cost
/// of those worth less, unless it must.
bool eviction::admit(uint32_t tier, locker_bank &bank, uint32_t number, admission_of what,
                     const transfer::urgency &order) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  const uint64_t bytes = bank.frame_bytes_in(tier, number);
  const uint64_t cost = slot.memory->cost_bytes(bytes);
  const bool has_frame = what != admission_of::newcomer, must = what == admission_of::long_pinned;
  const newcomer wanted{bank.object_base + number, has_frame ? 0 : bytes};
  std::vector<placement::object> leaving;
  for (bool anybody_left = false;; anybody_left = true) {
    if (!find_victims(tier, wanted, cost, must, leaving)) return false;
    if (leaving.empty()) {
      if (has_frame || slot.memory->fits(bytes)) {
        return must || anybody_left || fits_beside(tier, wanted.object, cost);
      }
      // There are only holes. What leaves now makes room for others, if not for this one.
      const placement::object victim = choose_victim(tier, wanted, true);
      if (victim == placement::no_object || !here.policy->admit(wanted.object, victim))
        return false;
      leaving.push_back(victim);
    }
    // Its copy farther away goes first: a victim finds room there.
    if (has_frame) drop_exclusive_copies_below(tier, bank, number);
    // Or somebody was quicker and holds one of them, object is passed over next.
    for (const placement::object victim : leaving) evict(tier, victim, order, has_frame);
  }
}

/// What stays here needs no copy in tiers that keep none of what is nearer.
void eviction::drop_exclusive_copies_below(uint32_t tier, locker_bank &bank, uint32_t number) {
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    const tier_slot &slot = state_.tiers[t];
    const bool gives_up =
        slot.memory != nullptr && slot.rank > state_.tiers[tier].rank && slot.is_exclusive();
    if (!gives_up || !bank.word(t, number).begin_evict()) continue;
    copies_.untrack(t, bank, number);
    copies_.release_copy(t, bank, number);
  }
}

/// Copies a victim down, which keeps its frame until that is done. False: it may simply go.
bool eviction::demote(uint32_t tier, locker_bank &bank, uint32_t number,
                      const transfer::urgency &order) {
  const uint32_t below = demotion_target(state_.tiers, tier);
  if (below == no_tier) return false;
  locker_word &target = bank.word(below, number);
  if (target.look().state != locker_state::absent) return false;
  tier_slot &slot = state_.tiers[below];
  const uint64_t bytes = bank.frame_bytes_in(below, number);
  if (!state_.tiers.connected(tier, below) ||
      !admit(below, bank, number, admission_of::newcomer, order))
    return false;
  const auto frame = slot.memory->take(bytes);
  if (!frame) return false;
  const uint32_t index = fills_.create(bank, number, below, *frame, order);
  fill &f = fills_[index];
  f.demotion = true;
  f.may_expire = false;
  f.unrequested = true;
  f.admit = true;
  f.from = tier;
  f.state = fill_state::active;
  copies_.announce(f);
  target.begin_fill(index, 1);
  tier_slot &above = state_.tiers[tier];
  above.admission.leaving_bytes += above.memory->cost_bytes(bank.frame_bytes_in(tier, number));
  fills_.queue(index);
  return true;
}

bool eviction::evict(uint32_t tier, placement::object object, const transfer::urgency &order,
                     bool may_demote) {
  uint32_t number = 0;
  locker_bank &bank = *state_.banks.of_object(object, number);
  if (!bank.word(tier, number).begin_evict()) return false;  // somebody was quicker
  tier_slot &slot = state_.tiers[tier];
  copies_.untrack(tier, bank, number);
  ++slot.stats.evict_count;
  copies_.forget_prefetched(tier, object);
  if (may_demote && demote(tier, bank, number, order)) return true;
  copies_.release_copy(tier, bank, number);
  return true;
}

/// Where demand finds no room. Prefetched ones that nobody has used go last, but for the oldest of
/// those that have more than their share of the tier.
bool eviction::drop_probationary(uint32_t tier, bool unused_too) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  uint64_t unused_bytes = 0;
  for (const unused_prefetch &one : here.prefetched) unused_bytes += one.bytes;
  unused_too = unused_too || unused_bytes > slot.memory->budget_bytes() / spared_share;
  for (const auto &[object, since_round] : here.on_probation) {
    uint32_t number = 0;
    locker_bank *bank = state_.banks.of_object(object, number);
    CUBBY_ASSERT(bank != nullptr);
    if (!unused_too && here.is_unused(object)) continue;
    if (!bank->word(tier, number).begin_evict()) continue;
    copies_.release_copy(tier, *bank, number);
    return true;
  }
  return false;
}

bool eviction::evict_one(uint32_t tier, const newcomer &wanted, const transfer::urgency &order,
                         bool may_demote) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  for (size_t i = 0; i < here.no_allocate.size(); ++i) {
    uint32_t number = 0;
    locker_bank *bank = state_.banks.of_object(here.no_allocate[i], number);
    if (bank == nullptr || !bank->word(tier, number).begin_evict()) continue;
    ++slot.stats.evict_count;
    copies_.release_copy(tier, *bank, number);
    return true;
  }
  if (drop_probationary(tier, false)) return true;
  for (const bool spare : {true, false}) {
    if (!spare && order.io_class != CUBBY_DEMAND) break;  // a guess does not push out a guess
    const placement::object object = choose_victim(tier, wanted, spare);
    if (object != placement::no_object && evict(tier, object, order, may_demote)) return true;
  }
  return order.io_class == CUBBY_DEMAND && drop_probationary(tier, true);
}

/// True when a frame for `bytes` can be taken now. Where victims have to be copied down first,
/// enough of them are on their way and the caller waits.
bool eviction::make_room(uint32_t tier, const newcomer &wanted, const transfer::urgency &order) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  const uint64_t cost = slot.memory->cost_bytes(wanted.bytes);
  while (!slot.memory->fits(wanted.bytes)) {
    const uint64_t kept = slot.memory->used_bytes() - here.leaving_bytes;
    if (here.leaving_bytes != 0 && kept + cost <= slot.memory->budget_bytes()) {
      fills_.raise_demotions(tier, order);
      return false;
    }
    const uint64_t kept_before = here.admitted_bytes;
    if (!evict_one(tier, wanted, order, true)) return false;
    if (here.policy->chooses()) here.taken_bytes += kept_before - here.admitted_bytes;
  }
  return true;
}

void eviction::settle(uint32_t tier) {
  if (!state_.tiers.is_memory(tier)) return;
  sweep_no_allocate(tier);
  decide_probation(tier);
}

/// Drops what was pinned in passing and is not any more.
void eviction::sweep_no_allocate(uint32_t tier) {
  const std::vector<placement::object> &passing = state_.tiers[tier].admission.no_allocate;
  for (size_t i = 0; i < passing.size();) {
    uint32_t number = 0;
    locker_bank *bank = state_.banks.of_object(passing[i], number);
    CUBBY_ASSERT(bank != nullptr);
    if (bank->word(tier, number).begin_evict()) {
      copies_.release_copy(tier, *bank, number);  // and its place in the list
    } else {
      ++i;
    }
  }
}

/// Those whose use is over stay or go.
void eviction::decide_probation(uint32_t tier) {
  tier_slot &slot = state_.tiers[tier];
  tier_admission &here = slot.admission;
  ++here.probation_rounds;
  const std::vector<probationary> seen = here.on_probation;
  for (const auto &[object, since_round] : seen) {
    uint32_t number = 0;
    locker_bank *bank = state_.banks.of_object(object, number);
    CUBBY_ASSERT(bank != nullptr);
    const locker_word::view word = bank->word(tier, number).look();
    if (word.state != locker_state::ready) continue;
    admission_of what = admission_of::probationary;
    if (word.pin_count != 0) {
      // Room that nobody has to leave need not be waited for: it may be pinned for long. And object
      // is pinned for long is no guest: the room for guests is for others.
      const uint64_t cost = slot.memory->cost_bytes(bank->frame_bytes_in(tier, number));
      const uint64_t gone = here.taken_bytes;  // for guests: that room is not free
      if (here.probation_rounds - since_round > rounds_max) {
        what = admission_of::long_pinned;
      } else if (here.admitted_bytes + gone + cost > copies_.admitted_budget_bytes(tier)) {
        continue;
      }
    }
    if (here.is_unused(object)) continue;
    const transfer::urgency order{CUBBY_WRITE_BACK, base::never_ns, state_.next_sequence()};
    if (admit(tier, *bank, number, what, order)) {
      base::erase_one(here.on_probation, object);
      copies_.admit(tier, *bank, number);
      drop_exclusive_copies_below(tier, *bank, number);
    } else if (bank->word(tier, number).begin_evict()) {
      copies_.release_copy(tier, *bank, number);
    }
  }
  // Prefetched ones are waited for only once they are used, which a visit says: otherwise one that
  // nobody ever uses would make every unpin wake the pump.
  const bool awaited =
      std::any_of(here.on_probation.begin(), here.on_probation.end(),
                  [&](const probationary &one) { return !here.is_unused(one.object); });
  here.has_probation.store(awaited, std::memory_order_seq_cst);
}

/// A tier whose victims are copied down keeps a few frames free, so that demand need not wait for
/// the copying.
void eviction::keep_reserve() {
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    tier_slot &slot = state_.tiers[tier];
    tier_admission &here = slot.admission;
    if (slot.memory == nullptr) continue;
    const uint32_t below = demotion_target(state_.tiers, tier);
    if (here.policy->chooses()) continue;  // what is there for guests serves
    if (below == no_tier || state_.tiers.copy_path(tier, below).queued_count() != 0) continue;
    uint64_t wanted = 0;
    for (const locker_bank *bank : state_.banks.by_object()) {
      wanted = std::max(wanted, std::max(1u, bank->desc().routed_count) *
                                    bank->frame_bytes_max(bank->layout(tier)));
    }
    wanted = std::min(wanted, slot.memory->budget_bytes() / reserve_share);
    for (uint32_t i = 0; i < demotions_max; ++i) {
      const uint64_t kept = slot.memory->used_bytes() - here.leaving_bytes;
      if (kept + wanted <= slot.memory->budget_bytes() || here.leaving_bytes >= wanted) break;
      const transfer::urgency order{CUBBY_WRITE_BACK, base::never_ns, state_.next_sequence()};
      if (!evict_one(tier, {}, order, true)) break;
    }
  }
}

/// Nobody holds anything in the tier and nothing comes or goes there.
bool eviction::at_rest(uint32_t tier) const {
  const tier_slot &slot = state_.tiers[tier];
  const tier_admission &here = slot.admission;
  if (here.leaving_bytes != 0) return false;
  return !fills_.touches_tier(tier) && !any_pinned(state_, tier);
}

/// For what finds no frames in a tier at rest, bank waiting would be for ever: all that is there
/// goes, and memory that came in pieces is taken anew. False: somebody holds a part of it.
bool eviction::clear_tier(uint32_t tier) {
  if (!at_rest(tier)) return false;
  const transfer::urgency order{CUBBY_DEMAND, base::never_ns, 0};
  while (evict_one(tier, {placement::no_object, base::never_ns}, order, false)) {
  }
  if (state_.tiers[tier].memory->used_bytes() != 0) return false;
  merge_memory(tier);
  return true;
}

void eviction::shrink_memory(uint32_t tier) {
  state_.tiers[tier].memory->trim(
      [&](const cubby_backend_memory &block) { state_.tiers.unregister_block(tier, block); });
}

void eviction::merge_memory(uint32_t tier) {
  tier_slot &slot = state_.tiers[tier];
  if (!slot.memory->in_pieces()) return;
  auto merged = slot.memory->merge(
      [&](const cubby_backend_memory &block) { state_.tiers.unregister_block(tier, block); });
  if (!merged) state_.log(1, merged.failure().text);
  state_.tiers.register_blocks(tier, 0);
}

}  // namespace cubby::engine
