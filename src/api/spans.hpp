// The caller's memory that an item names, as plain pieces, and copies between such lists.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "api/runtime.hpp"

namespace cubby::api {

struct memory_piece {
  std::byte *at = nullptr;
  uint64_t bytes = 0;
};

/// nullptr where the runtime has no such region. Pump held.
region *find_region(runtime &self, cubby_region handle);

/// The pieces of the item's spans in their order. Pump held where one names a region. INVALID, or
/// STALE for a region that is none, with the number of item and span.
result<std::vector<memory_piece>> read_spans(runtime &self, const cubby_item &item, uint32_t index);

[[nodiscard]] uint64_t bytes_of(std::span<const memory_piece> pieces);

/// The bytes [at_bytes, at_bytes + bytes) of a locker whose parts lie so.
std::vector<memory_piece> locker_pieces(std::span<const memory_piece> parts, uint64_t at_bytes,
                                        uint64_t bytes);

/// What of the locker lies behind its first `bytes` becomes zero.
void clear_behind(std::span<const memory_piece> parts, uint64_t bytes);

/// Both lists have the same number of bytes.
void copy_pieces(std::span<const memory_piece> from, std::span<const memory_piece> to);

}  // namespace cubby::api
