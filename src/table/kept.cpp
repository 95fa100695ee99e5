// Who is kept in a tier, which is who its policy knows of, and who may join them.
#include <algorithm>

#include "table/controller.hpp"

namespace cubby::table {

/// An exclusive tier goes on where the nearer ones end, so its policy decides as if they were one:
/// it knows of what is kept in any of them, counts their budgets, and is asked about its own.
bool controller::stands_for(uint32_t tier, uint32_t nearer) const {
  const tier_slot &slot = *tiers_[tier], &other = *tiers_[nearer];
  if (slot.policy == nullptr || other.policy == nullptr) return false;
  const bool exclusive = (slot.flags & CUBBY_TIER_EXCLUSIVE) != 0;
  return tier == nearer || (exclusive && other.rank < slot.rank);
}

/// Lives it there, or will it, and not as a guest?
bool controller::is_kept(uint32_t tier, const bank &where, uint32_t number) const {
  const locker_word::view word = where.word(tier, number).look();
  if (word.state == locker_state::absent || word.state == locker_state::evicting) return false;
  if (word.state == locker_state::filling) {
    const move &m = moves_[word.frame];
    if (m.beside != tier && (m.to != tier || !m.introduced)) return false;
  }
  return !is_guest(tier, where.object_base + number);
}

/// Is it kept in the tier, or in one that it stands for, other than `but`?
bool controller::is_known(uint32_t tier, const bank &where, uint32_t number, uint32_t but) const {
  for (uint32_t t = 0; t < tier_count(); ++t) {
    if (t != but && stands_for(tier, t) && is_kept(t, where, number)) return true;
  }
  return false;
}

/// From here on the policies know of it.
void controller::keep(uint32_t tier, const bank &where, uint32_t number) {
  const uint64_t bytes = where.frame_bytes_in(tier, number);
  tiers_[tier]->kept_bytes += tiers_[tier]->memory->cost_bytes(bytes);
  for (uint32_t t = 0; t < tier_count(); ++t) {
    if (!stands_for(t, tier) || is_known(t, where, number, tier)) continue;
    tell_of(t, where, number);
  }
}

void controller::tell_of(uint32_t tier, const bank &where, uint32_t number) {
  const uint64_t cost = tiers_[tier]->memory->cost_bytes(where.frame_bytes_in(tier, number));
  tiers_[tier]->policy->inserted(where.object_base + number, cost);
  ++tiers_[tier]->known_count;
}

/// Its word says already that it is not there any more.
void controller::lose(uint32_t tier, const bank &where, uint32_t number) {
  const placement::object who = where.object_base + number;
  if (is_guest(tier, who)) return;
  const uint64_t bytes = where.frame_bytes_in(tier, number);
  tiers_[tier]->kept_bytes -= tiers_[tier]->memory->cost_bytes(bytes);
  for (uint32_t t = 0; t < tier_count(); ++t) {
    if (!stands_for(t, tier) || is_known(t, where, number, tier)) continue;
    tiers_[t]->policy->removed(who);
    --tiers_[t]->known_count;
  }
}

/// More guests than there is room kept free push out kept lockers. Who takes the place of one
/// of those has to be worth more than the least of the others.
bool controller::fills_a_gap(uint32_t tier, placement::object who, uint64_t cost) {
  tier_slot &slot = *tiers_[tier];
  const uint64_t room = kept_budget_bytes(tier) - slot.kept_bytes;
  slot.taken_bytes = std::min(slot.taken_bytes, room);
  if (room - slot.taken_bytes >= cost) return true;
  const placement::object least = choose_victim(tier, {who, 0}, true);
  if (least != placement::no_object && !slot.policy->admit(who, least)) return false;
  slot.taken_bytes -= std::min(slot.taken_bytes, cost);
  return true;
}

/// Who would have to leave for this one to stay. All are asked about before anybody goes: false
/// when one of them is worth more.
bool controller::find_leaving(uint32_t tier, const newcomer &wanted, uint64_t cost, bool must,
                              std::vector<placement::object> &leaving) {
  tier_slot &slot = *tiers_[tier];
  const uint64_t budget_bytes = kept_budget_bytes(tier);
  leaving.clear();
  if (cost > budget_bytes) return false;
  uint64_t kept_bytes = slot.kept_bytes;
  while (kept_bytes + cost > budget_bytes) {
    const placement::object victim = choose_victim(tier, wanted, true, leaving);
    if (victim == placement::no_object) return false;
    if (!must && !slot.policy->admit(wanted.who, victim)) return false;
    uint32_t number = 0;
    const bank *where = bank_of_object(victim, number);
    kept_bytes -= slot.memory->cost_bytes(where->frame_bytes_in(tier, number));
    leaving.push_back(victim);
  }
  return true;
}

/// True when one that is to stay may have its place now: within what is kept, and only at the cost
/// of those worth less, unless it must.
bool controller::make_place(uint32_t tier, bank &where, uint32_t number, place_for what,
                            const transfer::urgency &order) {
  tier_slot &slot = *tiers_[tier];
  const uint64_t bytes = where.frame_bytes_in(tier, number);
  const uint64_t cost = slot.memory->cost_bytes(bytes);
  const bool has_frame = what != place_for::newcomer, must = what == place_for::pinned_guest;
  const newcomer wanted{where.object_base + number, has_frame ? 0 : bytes};
  std::vector<placement::object> leaving;
  for (bool anybody_left = false;; anybody_left = true) {
    if (!find_leaving(tier, wanted, cost, must, leaving)) return false;
    if (leaving.empty()) {
      if (has_frame || slot.memory->fits(bytes)) {
        return must || anybody_left || fills_a_gap(tier, wanted.who, cost);
      }
      // There are only holes. What leaves now makes room for others, if not for this one.
      const placement::object victim = choose_victim(tier, wanted, true);
      if (victim == placement::no_object || !slot.policy->admit(wanted.who, victim)) return false;
      leaving.push_back(victim);
    }
    // Its copy farther away goes first: a victim finds room there.
    if (has_frame) give_up_below(tier, where, number);
    // Or somebody was quicker and holds one of them, who is passed over next.
    for (const placement::object victim : leaving) evict(tier, victim, order, has_frame);
  }
}

}  // namespace cubby::table
