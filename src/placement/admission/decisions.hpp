// The part of `admission` that asks the driver; included by admission.hpp.
#pragma once

#include <algorithm>
#include <bit>

#include "placement/admission/admission.hpp"

namespace cubby::placement {

template <admission_host Host>
int32_t admission::add_tier(uint32_t tier, uint32_t rank, bool exclusive, tier_view view,
                            Host &host) {
  tier_books &of = tiers_[tier];
  of.lists.grow(object_count_);
  of.on_probation_since.resize(object_count_);
  of.unused.grow(object_count_);
  of.view = std::move(view);
  of.rank = rank;
  of.exclusive = exclusive;
  int32_t status = 0;
  of.watched = static_cast<uint8_t>(1U << tier);
  of.policy = make_policy(policy_for(tier), config_of(tier), &status);
  if (of.policy == nullptr) {
    of.watched = 0;
    return status;
  }
  connect_tiers();
  notify_all_tracked(tier, host);
  return 0;
}

template <admission_host Host>
bool admission::describe_tier(uint32_t tier, tier_view view, Host &host) {
  tier_books &of = tiers_[tier];
  of.view = std::move(view);
  const cubby_policy_ops &better = policy_for(tier);
  if (!by_banks_ || of.round_robin || &better == &of.policy->ops()) return true;
  auto made = make_policy(better, config_of(tier));
  if (made == nullptr) return false;
  of.policy = std::move(made);
  notify_all_tracked(tier, host);
  return true;
}

template <admission_host Host>
void admission::notify_all_tracked(uint32_t tier, Host &host) {
  tiers_[tier].tracked_count = 0;
  for (cubby_object object = 0; object < object_count_; ++object)
    if (is_tracked(tier, object)) notify_inserted(tier, object, host);
}

template <admission_host Host>
void admission::track(uint32_t tier, cubby_object object, Host &host) {
  tier_books &of = tiers_[tier];
  if (is_admitted(tier, object) || of.is_on_probation(object)) return;
  if (!of.policy->chooses()) return admit(tier, object, host);
  if (!of.had_probation) {
    of.had_probation = true;
    const uint64_t before = of.probation_bytes;
    measure_probation();
    if (of.probation_bytes != before) reconfigure_policies();
  }
  of.lists.renew(tier_books::probation, object);
  of.on_probation_since[object] = of.decision_rounds;
  if (of.unused.holds(object)) ++of.unused_on_probation;
}

template <admission_host Host>
[[gnu::always_inline]] inline void admission::admit(uint32_t tier, cubby_object object,
                                                    Host &host) {
  tier_books &of = tiers_[tier];
  if (is_admitted(tier, object)) return;
  if (!of.unused.empty() && of.unused.holds(object) && of.is_on_probation(object))
    --of.unused_on_probation;
  if (of.has_undecided()) of.lists.take(object);
  of.admitted_bytes += host.cost_bytes(tier, object);
  for (uint32_t left = of.watchers; left != 0; left &= left - 1) {
    const auto t = static_cast<uint32_t>(std::countr_zero(left));
    if (!is_tracked(t, object)) notify_inserted(t, object, host);
  }
  admitted_in_[object] |= static_cast<uint8_t>(1U << tier);
}

template <admission_host Host>
[[gnu::always_inline]] inline bool admission::admit_or_reject(uint32_t tier, cubby_object object,
                                                              Host &host) {
  const uint64_t cost = host.cost_bytes(tier, object);
  if (tiers_[tier].admitted_bytes + cost > tiers_[tier].admitted_budget_bytes()) {
    const bool won = tiers_[tier].policy->chooses()
                         ? win_place(tier, object, claim::probationary, host)
                         : make_room(tier, {object, host.frame_bytes(tier, object)}, host);
    if (!won) return false;
  }
  admit(tier, object, host);
  return true;
}

template <admission_host Host>
[[gnu::always_inline]] inline bool admission::evict(uint32_t tier, cubby_object object,
                                                    departure how, Host &host) {
  if (!host.begin_evict(tier, object)) return false;
  untrack(tier, object, host.cost_bytes(tier, object));
  host.finish_evict(tier, object, how);
  return true;
}

/// What is admitted in a tier needs no copy in those that keep none of what is nearer.
template <admission_host Host>
void admission::drop_copies_below(uint32_t tier, cubby_object object, Host &host) {
  for (uint32_t left = tiers_[tier].watchers & ~(1U << tier); left != 0; left &= left - 1)
    evict(static_cast<uint32_t>(std::countr_zero(left)), object, departure::dropped, host);
}

template <admission_host Host>
void admission::decide(uint32_t tier, Host &host) {
  tier_books &of = tiers_[tier];
  for (cubby_object object = of.lists.oldest(tier_books::no_allocate), next; object != no_object;
       object = next) {
    next = of.lists.newer(object);
    evict(tier, object, departure::dropped, host);
  }
  ++of.decision_rounds;
  for (cubby_object object = of.lists.oldest(tier_books::probation), next; object != no_object;
       object = next) {
    next = of.lists.newer(object);
    const presence here = host.presence_of(tier, object);
    if (here != presence::ready && here != presence::pinned) continue;
    claim what = claim::probationary;
    if (here == presence::pinned) {
      // Room that no object has to leave need not be waited for: the pin may be held for long. And
      // what is pinned for long does not stay in the room for probation: that is for others.
      const uint64_t wanted = of.admitted_bytes + of.taken_bytes + host.cost_bytes(tier, object);
      if (of.decision_rounds - of.on_probation_since[object] > overdue_rounds) {
        what = claim::overdue;
      } else if (wanted > of.admitted_budget_bytes()) {
        continue;
      }
    }
    if (of.unused.holds(object)) continue;
    if (win_place(tier, object, what, host)) {
      admit(tier, object, host);
      drop_copies_below(tier, object, host);
    } else {
      evict(tier, object, departure::dropped, host);
    }
  }
}

/// Where demand finds no room. Unused prefetches go last, but for the oldest of those that have
/// more than their share of the tier.
template <admission_host Host>
bool admission::drop_probationary(uint32_t tier, bool unused_too, Host &host) {
  tier_books &of = tiers_[tier];
  const bool all = unused_too || of.unused.total_bytes() > of.view.budget_bytes / spared_share;
  for (cubby_object object = of.lists.oldest(tier_books::probation); object != no_object;
       object = of.lists.newer(object)) {
    if (!all && of.unused.holds(object)) continue;
    if (evict(tier, object, departure::dropped, host)) return true;
  }
  return false;
}

template <admission_host Host>
bool admission::evict_no_allocate(uint32_t tier, Host &host) {
  const object_lists &lists = tiers_[tier].lists;
  for (cubby_object object = lists.oldest(tier_books::no_allocate); object != no_object;
       object = lists.newer(object))
    if (evict(tier, object, departure::evicted, host)) return true;
  return false;
}

template <admission_host Host>
[[gnu::always_inline]] inline bool admission::evict_one(uint32_t tier, const newcomer &wanted,
                                                        departure how, Host &host) {
  const bool undecided = tiers_[tier].has_undecided();
  if (undecided && (evict_no_allocate(tier, host) || drop_probationary(tier, false, host)))
    return true;
  const uint64_t cost = wanted.object == no_object ? 0 : host.cost_bytes(tier, wanted.object);
  for (bool spare_unused = true;; spare_unused = false) {
    const cubby_object victim =
        choose_victim(tier, wanted, missing_bytes(tier, cost), spare_unused, host);
    if (victim != no_object && evict(tier, victim, how, host)) return true;
    // A guess does not push out a guess; and where none is spared, one round has said it all.
    if (!spare_unused || !wanted.demand || tiers_[tier].unused.empty()) break;
  }
  return undecided && wanted.demand && drop_probationary(tier, true, host);
}

template <admission_host Host>
[[gnu::always_inline]] inline bool admission::make_room(uint32_t tier, const newcomer &wanted,
                                                        Host &host) {
  tier_books &of = tiers_[tier];
  while (!host.has_hole(tier, wanted.hole_bytes)) {
    if (host.is_hole_coming(tier, wanted.hole_bytes)) return false;
    const uint64_t before = of.admitted_bytes;
    if (!evict_one(tier, wanted, departure::demoted, host)) return false;
    if (of.policy->chooses()) of.taken_bytes += before - of.admitted_bytes;
  }
  return true;
}

/// Objects on probation that exceed the room reserved for them evict admitted ones. What takes the
/// place of one of those has to be worth more than the least of the others.
template <admission_host Host>
bool admission::fills_gap(uint32_t tier, cubby_object object, uint64_t cost, Host &host) {
  tier_books &of = tiers_[tier];
  const uint64_t room = of.admitted_budget_bytes() - of.admitted_bytes;
  of.taken_bytes = std::min(of.taken_bytes, room);
  if (room - of.taken_bytes >= cost) return true;
  const cubby_object least = choose_rarely(tier, {object}, missing_bytes(tier, cost), host);
  if (least != no_object && !of.policy->admit(object, least)) return false;
  of.taken_bytes -= std::min(of.taken_bytes, cost);
  return true;
}

/// The objects that would have to leave for this one to be admitted. The policy is asked about all
/// of them before any is evicted: false when one is worth more.
template <admission_host Host>
[[gnu::always_inline]] inline bool admission::find_leaving(uint32_t tier, cubby_object object,
                                                           uint64_t cost, claim what, Host &host) {
  tier_books &of = tiers_[tier];
  const auto bit = static_cast<uint8_t>(1U << tier);
  const newcomer wanted{object, what == claim::newcomer ? host.frame_bytes(tier, object) : 0};
  of.leaving.clear();
  bool worth = cost <= of.admitted_budget_bytes();
  uint64_t bytes = of.admitted_bytes + cost;
  while (worth && bytes > of.admitted_budget_bytes()) {
    const cubby_object victim =
        choose_victim(tier, wanted, bytes - of.admitted_budget_bytes(), true, host);
    worth = victim != no_object && (what == claim::overdue || of.policy->admit(object, victim));
    if (!worth) break;
    bytes -= host.cost_bytes(tier, victim);
    leaving_[victim] |= bit;
    of.leaving.push_back(victim);
  }
  for (const cubby_object victim : of.leaving) leaving_[victim] &= static_cast<uint8_t>(~bit);
  return worth;
}

template <admission_host Host>
[[gnu::always_inline]] inline bool admission::win_place(uint32_t tier, cubby_object object,
                                                        claim what, Host &host) {
  tier_books &of = tiers_[tier];
  const uint64_t cost = host.cost_bytes(tier, object);
  const bool has_frame = what != claim::newcomer;
  for (bool any_left = false;; any_left = true) {
    if (!find_leaving(tier, object, cost, what, host)) return false;
    if (of.leaving.empty()) {
      const uint64_t hole_bytes = has_frame ? 0 : host.frame_bytes(tier, object);
      if (has_frame || host.has_hole(tier, hole_bytes))
        return what == claim::overdue || any_left || fills_gap(tier, object, cost, host);
      if (host.is_hole_coming(tier, hole_bytes)) return false;
      // There are only holes that are too small. A victim makes room for others, if not for this.
      const newcomer wanted{object, hole_bytes};
      const cubby_object victim = choose_rarely(tier, wanted, missing_bytes(tier, cost), host);
      if (victim == no_object || !of.policy->admit(object, victim)) return false;
      of.leaving.push_back(victim);
    }
    // Its copy farther away goes first: a victim finds room there.
    if (has_frame) drop_copies_below(tier, object, host);
    // One that was pinned meanwhile stays, and is passed over in the next round.
    const departure how = has_frame ? departure::demoted : departure::evicted;
    for (const cubby_object victim : of.leaving) evict(tier, victim, how, host);
  }
}

/// The least worth keeping that may leave; among the first few, one that makes a hole that fits.
template <admission_host Host>
[[gnu::always_inline]] inline cubby_object admission::choose_victim(uint32_t tier,
                                                                    const newcomer &wanted,
                                                                    uint64_t missing,
                                                                    bool spare_unused, Host &host) {
  tier_books &of = tiers_[tier];
  for (;;) {
    if (of.stopped) return no_object;
    of.policy->begin_victims(wanted.object, missing, host.now_ns());
    begin_round();
    const cubby_object victim = play_round(tier, wanted, spare_unused, host);
    if (broken_.empty()) [[likely]]
      return victim;
    replace_policy(tier, std::exchange(broken_, {}), host);
  }
}

/// Where the code is better short than fast.
template <admission_host Host>
[[gnu::noinline]] cubby_object admission::choose_rarely(uint32_t tier, const newcomer &wanted,
                                                        uint64_t missing, Host &host) {
  return choose_victim(tier, wanted, missing, true, host);
}

/// Sets broken_ when the policy breaks a rule of policy.h.
template <admission_host Host>
[[gnu::always_inline]] inline cubby_object admission::play_round(uint32_t tier,
                                                                 const newcomer &wanted,
                                                                 bool spare_unused, Host &host) {
  tier_books &of = tiers_[tier];
  const bool spare = spare_unused && !of.unused.empty();
  const uint64_t spared_since =
      spare ? of.unused.newest_within(of.view.budget_bytes / spared_share) : 0;
  cubby_object choice = no_object;
  uint32_t choices = 0, passed_over = 0, looked = 0;
  for (;;) {
    const cubby_object object =
        of.round_robin ? next_round_robin(tier, looked) : of.policy->next_victim();
    if (object == no_object) {
      const bool all_named = of.round_robin || passed_over >= of.tracked_count;
      return choice != no_object || all_named ? choice : break_round(tier, passed_over);
    }
    if (!is_tracked(tier, object))
      return break_rule(object, ", which is not resident; residents alone can leave");
    const bool may_leave = is_admitted(tier, object) && (leaving_[object] >> tier & 1) == 0 &&
                           host.presence_of(tier, object) == presence::ready;
    if (may_leave && !(spare && of.unused.holds_since(object, spared_since))) {
      if (choice == no_object) choice = object;
      if (wanted.hole_bytes == 0 || host.makes_hole(tier, object, wanted.hole_bytes)) return object;
      if (++choices == choices_max) return choice;
    }
    // Those passed over come once each, so a round ends.
    if (passed_in_round_[object] == round_) return break_rule(object, " twice in a round");
    passed_in_round_[object] = round_;
    ++passed_over;
  }
}

/// A policy that breaks the rules is done without: LRU takes its place or, where there is no memory
/// for that, victims go by number.
template <admission_host Host>
void admission::replace_policy(uint32_t tier, std::string what_it_did, Host &host) {
  tier_books &of = tiers_[tier];
  const char *name = of.policy->name();
  bool lru_decides = false;
  if constexpr (Host::replaces_policies) {
    auto made = make_policy(*runtime_policy("lru"), config_of(tier));
    lru_decides = made != nullptr;
    of.round_robin = !lru_decides;
    if (lru_decides) {
      of.policy = std::move(made);
      measure_probation();
      notify_all_tracked(tier, host);
    }
  } else {
    of.stopped = true;
  }
  host.policy_broken(tier, name, what_it_did, lru_decides);
}

}  // namespace cubby::placement
