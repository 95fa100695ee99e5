// Blocks named by key: what the calls that also take lockers by number hand on.
#pragma once

#include "api/runtime.hpp"

namespace cubby::api {

/// cubby_drop() of items that are all named by key; tier 0 = everywhere.
cubby_status drop_blocks(runtime &self, const cubby_item *items, uint32_t count, cubby_tier tier);

}  // namespace cubby::api
