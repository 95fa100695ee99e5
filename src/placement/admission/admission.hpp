// The admission protocol of memory tiers, once for the runtime, replay and tests: which objects of
// a tier are on probation, admitted, or not to be allocated beyond their pins; which is evicted for
// which; what each tier's policy is notified of. Pure: no I/O, no clock, no frames. The driver that
// has the frames is asked through `admission_host`.
//
// The life of a copy in a tier whose policy has admit():
//   track() → on probation → decide() → admitted, or rejected and evicted
// In other tiers track() admits at once. An exclusive tier goes on where the nearer ones end: its
// policy is notified of what is admitted in any of them, counts their budgets, and names its own.
//
// No call takes time that grows with the number of objects, but for add_tier(), set_object_count()
// and the replacement of a policy that broke the rules.
#pragma once

#include <array>
#include <bit>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "placement/admission/host.hpp"
#include "placement/admission/tier_books.hpp"

namespace cubby::placement {

/// What a place is wanted for.
enum class claim : uint8_t {
  newcomer,      // it has no frame yet
  probationary,  // it has one
  overdue,       // it has one and was pinned for too long: it is admitted in any case
};

class admission {
 public:
  static constexpr uint32_t tiers_max = 8;
  /// Prefetched objects are spared before their first use, up to this share of the tier.
  static constexpr uint64_t spared_share = 4;

  /// `sequences` of a batch at first. `by_banks`: each tier has the library's choice for the banks
  /// that share it instead of `ops`.
  explicit admission(const cubby_policy_ops &ops, uint64_t seed, uint32_t sequences = 1,
                     bool by_banks = false)
      : ops_(ops), by_banks_(by_banks), seed_(seed), sequences_(sequences) {}

  // ---- tiers, banks, budgets -----------------------------------------------------------------
  /// Objects are numbered below it; a smaller number changes nothing. May throw; then some of its
  /// tables have grown.
  void set_object_count(uint32_t count);
  /// As before the last set_object_count(), whose bank has not come to be: its tables go.
  void restore_object_count() noexcept;
  /// 0, or what the policy's create() gave; then there is no such tier.
  template <admission_host Host>
  int32_t add_tier(uint32_t tier, uint32_t rank, bool exclusive, tier_view view, Host &host);
  /// As it is from here on; reconfigure_policies() tells the policies. Where the library chooses
  /// and another policy is better now, it takes the place of the one there is; it learns what is
  /// resident, and nothing of what was used. False when there was no memory for it.
  template <admission_host Host>
  bool describe_tier(uint32_t tier, tier_view view, Host &host);
  /// False when a policy had no memory for what is new; it goes on as it was.
  bool reconfigure_policies();
  /// A batch may have so many sequences from here on.
  void expect_sequences(uint32_t count);
  /// Somebody prefetches into the tier.
  void expect_prefetches(uint32_t tier);
  /// The number will stand for another object; it is in no tier.
  void forget(cubby_object object);

  // ---- what an object is in a tier -----------------------------------------------------------
  [[nodiscard]] bool is_admitted(uint32_t tier, cubby_object object) const {
    return (admitted_in_[object] >> tier & 1) != 0;
  }
  /// Has the tier's policy been notified of it?
  [[nodiscard]] bool is_tracked(uint32_t tier, cubby_object object) const {
    return object < admitted_in_.size() && (admitted_in_[object] & tiers_[tier].watched) != 0;
  }
  [[nodiscard]] bool shares_policy_with(uint32_t tier, uint32_t nearer) const {
    return (tiers_[tier].watched >> nearer & 1) != 0;
  }
  [[nodiscard]] const tier_books &books(uint32_t tier) const { return tiers_[tier]; }

  // ---- what happens --------------------------------------------------------------------------
  /// It has a frame: on probation, or admitted where the policy does not choose. Once.
  template <admission_host Host>
  void track(uint32_t tier, cubby_object object, Host &host);
  /// It has its place for good.
  template <admission_host Host>
  void admit(uint32_t tier, cubby_object object, Host &host);
  /// It has a frame for as long as it is pinned.
  void track_no_allocate(uint32_t tier, cubby_object object) {
    tiers_[tier].lists.renew(tier_books::no_allocate, object);
  }
  /// It has no frame any more.
  [[gnu::always_inline]] void untrack(uint32_t tier, cubby_object object, uint64_t cost_bytes) {
    tier_books &of = tiers_[tier];
    if (!of.unused.empty()) take_unused(of, object, of.prefetch_wasted_bytes);
    if (of.has_undecided()) of.lists.take(object);
    if (!is_admitted(tier, object)) return;
    admitted_in_[object] &= static_cast<uint8_t>(~(1U << tier));
    of.admitted_bytes -= cost_bytes;
    for (uint32_t left = of.watchers; left != 0; left &= left - 1) {
      tier_books &watcher = tiers_[static_cast<uint32_t>(std::countr_zero(left))];
      if ((admitted_in_[object] & watcher.watched) != 0) continue;
      watcher.policy->removed(object);
      --watcher.tracked_count;
    }
  }
  void note_prefetched(uint32_t tier, cubby_object object, uint64_t bytes);
  /// The tiers, a bit each, in which a prefetched object on probation had its first use.
  /// KV blocks come with `accesses`, of one request in this order; `goes_on`: that of the call
  /// before.
  uint8_t visit(const visit_place &place, std::span<const cubby_object> used,
                std::span<const cubby_policy_route> routes,
                std::span<cubby_policy_access> accesses = {}, bool goes_on = false);
  /// False: of no use to any policy.
  bool hint(const cubby_policy_hint &what);

  // ---- decisions -----------------------------------------------------------------------------
  /// After something was unpinned: no-allocate objects go, those on probation are promoted or
  /// rejected.
  template <admission_host Host>
  void decide(uint32_t tier, Host &host);
  /// Where a use ends before its object gets a frame, as in a replay: true when it is admitted.
  template <admission_host Host>
  bool admit_or_reject(uint32_t tier, cubby_object object, Host &host);
  /// True when the object may have its place now: within the budget of admitted objects, and at the
  /// cost only of those worth less.
  template <admission_host Host>
  bool win_place(uint32_t tier, cubby_object object, claim what, Host &host);
  /// True when a frame for the newcomer can be taken now.
  template <admission_host Host>
  bool make_room(uint32_t tier, const newcomer &wanted, Host &host);
  /// One copy leaves: no-allocate ones first, then those on probation, then the policy's victim.
  template <admission_host Host>
  bool evict_one(uint32_t tier, const newcomer &wanted, departure how, Host &host);
  /// False when it is pinned.
  template <admission_host Host>
  bool evict(uint32_t tier, cubby_object object, departure how, Host &host);

 private:
  /// Of a victim's round: how many names are looked at for one that makes a hole that fits.
  static constexpr uint32_t choices_max = 8;
  /// How often a pinned object on probation is looked at before it is overdue.
  static constexpr uint32_t overdue_rounds = 256;
  static constexpr uint64_t probation_share_max = 4;  // of a tier's budget

  void connect_tiers();
  void measure_probation();
  [[nodiscard]] policy_config config_of(uint32_t tier) const;
  [[nodiscard]] uint64_t missing_bytes(uint32_t tier, uint64_t cost) const {
    const tier_books &of = tiers_[tier];
    const uint64_t all = of.admitted_bytes + cost;
    return all > of.view.budget_bytes ? all - of.view.budget_bytes : cost;
  }
  template <admission_host Host>
  void notify_inserted(uint32_t tier, cubby_object object, Host &host) {
    tiers_[tier].policy->inserted(object, host.cost_bytes(tier, object));
    ++tiers_[tier].tracked_count;
  }
  template <admission_host Host>
  void notify_all_tracked(uint32_t tier, Host &host);
  void take_unused(tier_books &of, cubby_object object, uint64_t &count_bytes);
  uint8_t first_uses(std::span<const cubby_object> used);
  [[nodiscard]] const cubby_policy_ops &policy_for(uint32_t tier) const {
    return by_banks_ ? default_policy(tiers_[tier].view.banks) : ops_;
  }

  [[nodiscard]] cubby_object next_round_robin(uint32_t tier, uint32_t &looked);
  template <admission_host Host>
  [[nodiscard]] cubby_object choose_victim(uint32_t tier, const newcomer &wanted, uint64_t missing,
                                           bool spare_unused, Host &host);
  template <admission_host Host>
  [[nodiscard]] cubby_object choose_rarely(uint32_t tier, const newcomer &wanted, uint64_t missing,
                                           Host &host);
  template <admission_host Host>
  [[nodiscard]] cubby_object play_round(uint32_t tier, const newcomer &wanted, bool spare_unused,
                                        Host &host);
  // Set broken_; give no_object.
  cubby_object break_rule(cubby_object object, const char *what);
  cubby_object break_round(uint32_t tier, uint32_t passed_over);
  void begin_round() {
    if (++round_ == 0) [[unlikely]]
      restart_rounds();
  }
  void restart_rounds();
  template <admission_host Host>
  void replace_policy(uint32_t tier, std::string what_it_did, Host &host);
  template <admission_host Host>
  bool find_leaving(uint32_t tier, cubby_object object, uint64_t cost, claim what, Host &host);
  template <admission_host Host>
  bool fills_gap(uint32_t tier, cubby_object object, uint64_t cost, Host &host);
  template <admission_host Host>
  bool evict_no_allocate(uint32_t tier, Host &host);
  template <admission_host Host>
  bool drop_probationary(uint32_t tier, bool unused_too, Host &host);
  template <admission_host Host>
  void drop_copies_below(uint32_t tier, cubby_object object, Host &host);

  const cubby_policy_ops &ops_;
  const bool by_banks_;
  const uint64_t seed_;
  uint32_t sequences_;
  uint32_t object_count_ = 0, object_count_before_ = 0;
  std::array<tier_books, tiers_max> tiers_;
  // By object; of the first two a bit a tier.
  std::vector<uint8_t> admitted_in_, leaving_;
  std::vector<uint32_t> passed_in_round_;  // the last round that passed it over
  uint32_t round_ = 0;
  std::string broken_;  // the rule that a policy has just broken; empty = none
};

}  // namespace cubby::placement

#include "placement/admission/decisions.hpp"
