// What the admission protocol asks of the driver that holds the frames: the runtime's controller,
// a replay, or a test.
#pragma once

#include <concepts>
#include <string>

#include "placement/policy.hpp"

namespace cubby::placement {

/// A copy of an object in a tier, as far as a decision depends on it.
enum class presence : uint8_t { absent, loading, ready, pinned };

/// Why a copy leaves a tier.
enum class departure : uint8_t {
  dropped,  // it was never admitted, or a nearer tier has the object: no eviction
  evicted,  // its frame is needed
  demoted,  // its frame is needed, and a tier farther away may take the copy
};

/// What room is made for.
struct newcomer {
  cubby_object object = no_object;  // none: some copy has to leave
  uint64_t hole_bytes = 0;          // of the frame that it needs; 0 = any victim helps
  bool demand = true;               // false: unused prefetches are not pushed out for it
};

template <class Host>
concept admission_host = requires(Host &host, uint32_t tier, cubby_object object, uint64_t bytes) {
  { host.presence_of(tier, object) } -> std::same_as<presence>;
  /// Of a frame for the object, and what that costs of the budget.
  { host.frame_bytes(tier, object) } -> std::convertible_to<uint64_t>;
  { host.cost_bytes(tier, object) } -> std::convertible_to<uint64_t>;
  /// Can a frame be taken now, or once the object has left?
  { host.has_hole(tier, bytes) } -> std::same_as<bool>;
  { host.makes_hole(tier, object, bytes) } -> std::same_as<bool>;
  /// Copies that have left free enough once they are copied away: the newcomer waits.
  { host.is_hole_coming(tier, bytes) } -> std::same_as<bool>;
  /// From here on the copy cannot be pinned. False when it is pinned, or not ready.
  { host.begin_evict(tier, object) } -> std::same_as<bool>;
  /// The books are right already.
  host.finish_evict(tier, object, departure::evicted);
  { host.now_ns() } -> std::convertible_to<uint64_t>;
  /// Does LRU take the place of a policy that breaks the rules? Otherwise it decides nothing more.
  { Host::replaces_policies } -> std::convertible_to<bool>;
  host.policy_broken(tier, "name", std::string(), true);
};

}  // namespace cubby::placement
