// The names under which the controller knows banks and pins.
#pragma once

#include "residency/bank_registry.hpp"
#include "residency/locker_bank.hpp"
#include "residency/pin_sets.hpp"
#include "residency/pinning.hpp"

namespace cubby::table {

using bank = residency::locker_bank;
using catalog::bank_file;
using catalog::frame_layout;
using catalog::part_extent;
using residency::bank_row;
using residency::locker_state;
using residency::locker_word;
using residency::pin_outcome;
using residency::pin_set;
using residency::pin_sets;
using residency::tiers_max;

}  // namespace cubby::table
