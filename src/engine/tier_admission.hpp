// What a memory tier remembers of who may stay in it.
#pragma once

#include <algorithm>
#include <atomic>
#include <memory>
#include <vector>

#include "placement/policy.hpp"

namespace cubby::engine {

/// Prefetched, and not used yet.
struct unused_prefetch {
  placement::object object = 0;
  uint64_t bytes = 0;
};

/// Prefetched lockers are spared before their first use, up to this share of the tier.
inline constexpr uint64_t spared_share = 4;

/// Here for one use, since that round of looking at probationary lockers.
struct probationary {
  placement::object object = 0;
  uint64_t since_round = 0;
  bool operator==(placement::object other) const { return object == other; }
};

struct tier_admission {
  std::unique_ptr<placement::policy> policy;
  bool round_robin = false;                    // the policy broke the rules, and none replaced it
  uint32_t last_by_number = 0;                 // of that round
  std::vector<unused_prefetch> prefetched;     // oldest first
  std::vector<placement::object> no_allocate;  // not to stay once unpinned
  // Came for one use, after which the policy says whether they stay; in the order they were asked
  // for. The policy knows nothing of these, nor of those in no_allocate.
  std::vector<probationary> on_probation;
  uint64_t probation_count = 0;   // that have come
  bool fetched_ahead = false;     // room for probation is for two layers
  uint64_t probation_rounds = 0;  // how often they were looked at
  std::atomic<bool> has_probation{false};
  uint64_t admitted_bytes = 0;  // of those that the policy knows of
  uint32_t tracked_count = 0;   // of all that it was told of, of nearer tiers among them
  uint64_t taken_bytes = 0;     // of admitted ones evicted for probation, the policy not asked
  uint64_t leaving_bytes = 0;   // of frames whose bytes are on their way down

  [[nodiscard]] bool is_unused(placement::object object) const {
    return std::any_of(prefetched.begin(), prefetched.end(),
                       [&](const unused_prefetch &one) { return one.object == object; });
  }
};

}  // namespace cubby::engine
