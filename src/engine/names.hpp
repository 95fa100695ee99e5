// What the engine calls the things of the rooms below by.
#pragma once

#include <cstdint>

#include "residency/bank_registry.hpp"
#include "residency/locker_bank.hpp"
#include "residency/pin_sets.hpp"
#include "residency/pinning.hpp"

namespace cubby::engine {

using catalog::bank_file;
using catalog::frame_layout;
using catalog::part_extent;
using residency::bank_registry;
using residency::locker_bank;
using residency::locker_state;
using residency::locker_word;
using residency::pin_outcome;
using residency::pin_sets;
using residency::tiers_max;

/// No tier, no request, no fill.
inline constexpr uint32_t no_tier = ~uint32_t{0};
inline constexpr uint32_t no_index = ~uint32_t{0};

/// Of a locker, among those of all banks.
inline uint64_t locker_name(const locker_bank &bank, uint32_t number) {
  return uint64_t{bank.handle} << 32 | number;
}

}  // namespace cubby::engine
