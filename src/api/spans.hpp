// The caller's memory that an item names, as plain pieces.
#pragma once

#include <vector>

#include "api/runtime.hpp"
#include "transfer/pieces.hpp"

namespace cubby::api {

using transfer::memory_piece;

/// nullptr where the runtime has no such region. Its region_mutex is held.
region *find_region(runtime &self, cubby_region handle);

/// The pieces of the item's spans in their order. The region_mutex is held where one names a
/// region. INVALID, or STALE for a region that is none, with the number of item and span.
result<std::vector<memory_piece>> read_spans(runtime &self, const cubby_item &item, uint32_t index);

}  // namespace cubby::api
