// What admission knows of one tier.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "placement/admission/unused_prefetches.hpp"
#include "placement/object_list.hpp"
#include "placement/policy.hpp"

namespace cubby::placement {

/// A bank of experts as far as room for probation depends on it.
struct layer_demand {
  uint32_t columns = 0;
  uint32_t routed_count = 0;        // of a sequence in a layer
  uint64_t largest_cost_bytes = 0;  // of a locker, in the tier's budget
};

/// A tier and its banks as its driver describes them.
struct tier_view {
  uint64_t budget_bytes = 0;
  bool demotes = false;  // victims are copied to a tier farther away
  std::vector<cubby_policy_bank> banks;
  std::vector<layer_demand> layers;  // none: no room is reserved for probation
};

struct tier_books {
  /// The lists of `lists`: probationary objects in the order they came in, and those that are not
  /// to be allocated longer than they are pinned.
  static constexpr uint8_t probation = 0, no_allocate = 1;

  // What every admission and eviction looks at.
  std::unique_ptr<placement::policy> policy;  // none: the tier is not known
  uint64_t admitted_bytes = 0;
  uint64_t probation_bytes = 0;  // reserved for probation
  uint64_t taken_bytes = 0;  // of admitted ones evicted for probation without the policy's consent
  uint32_t tracked_count = 0;  // objects that the policy was notified of
  uint8_t watched = 0;         // tiers of whose objects the policy is notified, its own among them
  uint8_t watchers = 0;        // tiers whose policies are notified of this one's objects
  bool stopped = false;        // the policy broke the rules and is not asked any more
  bool round_robin = false;    // it did, and there was no memory for LRU: victims go by number
  tier_view view;

  object_lists lists{2, 0};
  std::vector<uint32_t> on_probation_since;  // a round of decisions, by object
  uint32_t decision_rounds = 0;
  bool had_probation = false;
  bool prefetches = false;  // room for probation is for two layers
  unused_prefetches unused;
  uint32_t unused_on_probation = 0;
  uint64_t prefetch_used_bytes = 0, prefetch_wasted_bytes = 0;

  uint32_t rank = 0;
  bool exclusive = false;
  cubby_object round_robin_at = 0;
  std::vector<cubby_object> leaving;  // victims of a decision under way

  [[nodiscard]] uint64_t admitted_budget_bytes() const {
    return view.budget_bytes - probation_bytes;
  }
  [[nodiscard]] bool is_on_probation(cubby_object object) const {
    return lists.list_of(object) == probation;
  }
  [[nodiscard]] bool is_no_allocate(cubby_object object) const {
    return lists.list_of(object) == no_allocate;
  }
  /// Is there anything in the tier that an unpin may decide on?
  [[nodiscard]] bool has_undecided() const {
    return lists.size(probation) + lists.size(no_allocate) != 0;
  }
  /// The same without unused prefetches and without no-allocate objects: those are worth no wake-up
  /// at each unpin.
  [[nodiscard]] bool awaits_decision() const {
    return lists.size(probation) != unused_on_probation;
  }
};

}  // namespace cubby::placement
