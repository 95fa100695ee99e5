// What the engine calls the things of the rooms below by.
#pragma once

#include <cstdint>

#include "table/bank.hpp"
#include "table/pin_sets.hpp"

namespace cubby::residency {
using namespace cubby::table;
using locker_bank = cubby::table::bank;
}  // namespace cubby::residency

namespace cubby::engine {

using residency::frame_layout;
using residency::locker_bank;
using residency::locker_state;
using residency::locker_word;
using residency::part_extent;
using residency::pin_outcome;
using residency::pin_sets;
using residency::tiers_max;

/// No tier, no request, no fill.
inline constexpr uint32_t no_tier = ~uint32_t{0};
inline constexpr uint32_t no_index = ~uint32_t{0};

}  // namespace cubby::engine
