// The caller's memory that an item names, as plain pieces.
#pragma once

#include <vector>

#include "api/runtime.hpp"
#include "engine/region_uses.hpp"
#include "transfer/pieces.hpp"

namespace cubby::api {

using transfer::memory_piece;

/// nullptr where the runtime has no such region. Its region_mutex is held.
region *find_region(runtime &self, cubby_region handle);

/// The pieces of the item's spans in their order. The region_mutex is held where one names a
/// region. INVALID, or STALE for a region that is none, with the number of item and span.
result<std::vector<memory_piece>> read_spans(runtime &self, const cubby_item &item, uint32_t index);

/// The caller's memory that an item names. Regions it names are not removed while this stands.
class item_memory {
 public:
  item_memory(runtime &self, const cubby_item &item, uint32_t index);
  item_memory(const item_memory &) = delete;
  item_memory &operator=(const item_memory &) = delete;

  /// They are not removed before a request that names them is over, either.
  void lend_to(engine::region_uses &in_use) { in_use.take(in_use_); }

  result<std::vector<memory_piece>> pieces{std::vector<memory_piece>{}};

 private:
  engine::region_uses in_use_;
};

}  // namespace cubby::api
