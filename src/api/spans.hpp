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

/// How much of its memory the region spans, from its first byte on.
[[nodiscard]] inline uint64_t span_of(const cubby_region_desc &desc) {
  return desc.piece_count == 0 ? desc.bytes
                               : desc.stride_bytes * (desc.piece_count - 1) + desc.piece_bytes;
}

/// The regions of devices that a call has named so far: each is held against its device once.
using device_regions = std::vector<cubby_region>;

/// The caller's memory that an item names: the host's, or all of one device. Regions it names are
/// not removed while this stands.
class item_memory {
 public:
  /// Without `devices` it has to be the host's. INVALID, or STALE for a region that is none, with
  /// the number of item and span; NOT_SUPPORTED or DEVICE where no tier is of its device, or none
  /// is any more.
  item_memory(runtime &self, const cubby_item &item, uint32_t index,
              device_regions *devices = nullptr);
  item_memory(const item_memory &) = delete;
  item_memory &operator=(const item_memory &) = delete;

  /// They are not removed before a request that names them is over, either.
  void lend_to(engine::region_uses &in_use) { in_use.take(in_use_); }

  /// In the order of the item's spans.
  result<std::vector<memory_piece>> pieces{std::vector<memory_piece>{}};
  uint32_t device_tier = engine::no_tier;  // a tier of the device that they are memory of

 private:
  engine::region_uses in_use_;
};

}  // namespace cubby::api
