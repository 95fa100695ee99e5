// Can a tier ever hold these lockers at once?
#pragma once

#include <cstdint>
#include <span>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "residency/bank_registry.hpp"
#include "tier/memory_tier.hpp"

namespace cubby::residency {

/// A memory tier, as far as frames are concerned.
struct frame_source {
  const tier::memory_tier &memory;
  uint32_t tier;  // slot
  cubby_tier handle;
  uint64_t budget_bytes;
};

/// What all of them together cost of the tier's budget; one named twice counts once.
uint64_t cost_of(const frame_source &from, std::span<const bank_registry::locker> lockers);

/// INVALID where frames of the tier cannot hold them as their banks want them, BUDGET where they
/// are too many at once.
result<void> check_frames(const frame_source &from, std::span<const bank_registry::locker> lockers);

}  // namespace cubby::residency
