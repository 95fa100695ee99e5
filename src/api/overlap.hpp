// Do two regions have a byte in common? Pieces of one may lie between those of the other.
#pragma once

#include "base/abi.hpp"

namespace cubby::api {

/// Both as cubby_region_add() takes them. A step for each piece of the one with fewer, at most.
bool overlap(const cubby_region_desc &one, const cubby_region_desc &other) noexcept;

}  // namespace cubby::api
