// The copies in memory tiers: which of them a tier's policy tracks, which are on probation, and the
// frames that they give back. It chooses no victims.
#pragma once

#include <string>
#include <vector>

#include "engine/engine_state.hpp"
#include "engine/fill_table.hpp"

namespace cubby::engine {

/// The exclusive memory tier below that takes what leaves this one; no_tier when there is none.
[[nodiscard]] uint32_t demotion_target(const tier_set &tiers, uint32_t tier);

class residents {
 public:
  residents(engine_state &state, fill_table &fills) : state_(state), fills_(fills) {}

  /// An exclusive tier continues the nearer ones, so its policy decides as if they were one tier:
  /// it tracks what is admitted in any of them, counts their budgets, and is asked about its own.
  [[nodiscard]] bool shares_policy_with(uint32_t tier, uint32_t nearer) const;
  /// Is it in the tier or coming there, and not on probation?
  [[nodiscard]] bool is_admitted(uint32_t tier, const locker_bank &bank, uint32_t number) const;
  /// Is it admitted in the tier, or in one that it shares its policy with, other than `but`?
  [[nodiscard]] bool is_tracked(uint32_t tier, const locker_bank &bank, uint32_t number,
                                uint32_t but = no_tier) const;
  [[nodiscard]] bool on_probation(uint32_t tier, placement::object object) const;

  /// A locker has its frame: the policies track it, or it is on probation from here on. Once a
  /// fill.
  void announce(fill &f);
  /// An announced locker does not come after all.
  void retract(fill &f);
  /// The policies track it from here on / no more.
  void admit(uint32_t tier, const locker_bank &bank, uint32_t number);
  void untrack(uint32_t tier, const locker_bank &bank, uint32_t number);
  /// Not to stay once it is unpinned.
  void add_no_allocate(uint32_t tier, placement::object object) {
    state_.tiers[tier].admission.no_allocate.push_back(object);
  }
  void remember_prefetched(uint32_t tier, placement::object object, uint64_t bytes);
  void forget_prefetched(uint32_t tier, placement::object object);

  /// Gives the frame of a word in `evicting` back, and forgets what the tier knew of the copy.
  void release_copy(uint32_t tier, locker_bank &bank, uint32_t number);
  /// False when the copy is pinned or on its way.
  bool drop(locker_bank &bank, uint32_t number, uint32_t tier);
  /// Ends a pin of the engine's own.
  void unpin(uint32_t tier, locker_word &word);

  /// Bytes for what is admitted: the budget without what is left free for probation.
  [[nodiscard]] uint64_t admitted_budget_bytes(uint32_t tier) const;
  [[nodiscard]] placement::policy_config policy_view(uint32_t tier,
                                                     std::vector<cubby_policy_bank> &banks) const;
  /// After a bank or a budget has changed. False: there was no memory for it, and the policies go
  /// on as they were.
  bool reconfigure_policies();
  /// The policy broke the rules: least recently used replaces it, or, without memory for that,
  /// victims go round-robin by number.
  void replace_policy(uint32_t tier, const std::string &what_it_did);
  /// Tells a policy that tracks nothing yet.
  void track_all(uint32_t tier);

  uint32_t sequence_count = 1;  // of a batch, as the policies know

 private:
  [[nodiscard]] bool receives_probation(uint32_t tier) const;
  [[nodiscard]] uint64_t probation_bytes(uint32_t tier) const;
  void notify_inserted(uint32_t tier, const locker_bank &bank, uint32_t number);

  engine_state &state_;
  fill_table &fills_;
};

}  // namespace cubby::engine
