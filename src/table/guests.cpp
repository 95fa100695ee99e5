// Guests: lockers that came for one use. A policy that chooses who stays is asked when that use is
// over, so nothing of it is pinned any more and everybody may be compared with everybody; until
// then a guest lives in what the tier keeps free for them.
#include <algorithm>

#include "table/controller.hpp"

namespace cubby::table {
namespace {

/// How often a pinned guest is looked at before it is taken for one that stays.
constexpr uint64_t rounds_max = 256;

}  // namespace

bool controller::is_guest(uint32_t tier, placement::object who) const {
  const tier_slot &slot = *tiers_[tier];
  return std::find(slot.guests.begin(), slot.guests.end(), who) != slot.guests.end() ||
         std::find(slot.passing.begin(), slot.passing.end(), who) != slot.passing.end();
}

/// A newcomer, from the moment it has its frame: so the policy hears of newcomers in the order they
/// were asked for in, and not in that of a disk.
void controller::introduce(move &m) {
  if (m.introduced) return;
  m.introduced = true;
  tier_slot &slot = *tiers_[m.to];
  if (m.demotion || !slot.policy->chooses()) return keep(m.to, *m.where, m.number);
  if (slot.guest_count++ == 0) tell_policies();  // room is kept for them from here on
  slot.guests.push_back({m.where->object_base + m.number, slot.guest_rounds});
  pinning_.watch(m.to).has_guests.store(true, std::memory_order_seq_cst);
}

/// It does not come after all.
void controller::withdraw(move &m) {
  if (!m.introduced) return;
  m.introduced = false;
  lose(m.to, *m.where, m.number);
  base::erase_one(tiers_[m.to]->guests, m.where->object_base + m.number);
}

/// Drops what was pinned in passing and is not any more.
void controller::sweep_passing(uint32_t tier) {
  const std::vector<placement::object> &passing = tiers_[tier]->passing;
  for (size_t i = 0; i < passing.size();) {
    uint32_t number = 0;
    bank *where = bank_of_object(passing[i], number);
    CUBBY_ASSERT(where != nullptr);
    if (where->word(tier, number).begin_evict()) {
      forget_copy(tier, *where, number);  // and its place in the list
    } else {
      ++i;
    }
  }
}

/// Those whose use is over stay or go.
void controller::decide_on_guests(uint32_t tier) {
  tier_slot &slot = *tiers_[tier];
  ++slot.guest_rounds;
  const std::vector<guest> seen = slot.guests;
  for (const auto &[who, since_round] : seen) {
    uint32_t number = 0;
    bank *where = bank_of_object(who, number);
    CUBBY_ASSERT(where != nullptr);
    const locker_word::view word = where->word(tier, number).look();
    if (word.state != locker_state::ready) continue;
    place_for what = place_for::guest;
    if (word.pin_count != 0) {
      // Room that nobody has to leave need not be waited for: it may be pinned for long. And who is
      // pinned for long is no guest: the room for guests is for others.
      const uint64_t cost = slot.memory->cost_bytes(where->frame_bytes_in(tier, number));
      const uint64_t gone = slot.taken_bytes;  // for guests: that room is not free
      if (slot.guest_rounds - since_round > rounds_max) {
        what = place_for::pinned_guest;
      } else if (slot.kept_bytes + gone + cost > kept_budget_bytes(tier)) {
        continue;
      }
    }
    if (slot.is_unused(who)) continue;
    const transfer::urgency order{CUBBY_WRITE_BACK, base::never_ns, ++sequence_};
    if (make_place(tier, *where, number, what, order)) {
      base::erase_one(slot.guests, who);
      keep(tier, *where, number);
      give_up_below(tier, *where, number);
    } else if (where->word(tier, number).begin_evict()) {
      forget_copy(tier, *where, number);
    }
  }
  // Prefetched ones are waited for only once they are used, which a visit says: otherwise one that
  // nobody ever uses would make every unpin wake the pump.
  const bool awaited = std::any_of(slot.guests.begin(), slot.guests.end(),
                                   [&](const guest &one) { return !slot.is_unused(one.who); });
  pinning_.watch(tier).has_guests.store(awaited, std::memory_order_seq_cst);
}

/// Where demand finds no room. Prefetched ones that nobody has used go last, but for the oldest of
/// those that have more than their share of the tier.
bool controller::drop_a_guest(uint32_t tier, bool unused_too) {
  tier_slot &slot = *tiers_[tier];
  uint64_t unused_bytes = 0;
  for (const unused_prefetch &one : slot.prefetched) unused_bytes += one.bytes;
  unused_too = unused_too || unused_bytes > slot.memory->budget_bytes() / spared_share;
  for (const auto &[who, since_round] : slot.guests) {
    uint32_t number = 0;
    bank *where = bank_of_object(who, number);
    CUBBY_ASSERT(where != nullptr);
    if (!unused_too && slot.is_unused(who)) continue;
    if (!where->word(tier, number).begin_evict()) continue;
    forget_copy(tier, *where, number);
    return true;
  }
  return false;
}

/// What stays here needs no copy in tiers that keep none of what is nearer.
void controller::give_up_below(uint32_t tier, bank &where, uint32_t number) {
  for (uint32_t t = 0; t < tier_count(); ++t) {
    const tier_slot &slot = *tiers_[t];
    const bool gives_up = slot.memory != nullptr && slot.rank > tiers_[tier]->rank &&
                          (slot.flags & CUBBY_TIER_EXCLUSIVE) != 0;
    if (!gives_up || !where.word(t, number).begin_evict()) continue;
    lose(t, where, number);
    forget_copy(t, where, number);
  }
}

}  // namespace cubby::table
