// A caller's memory that whole pages of a stored block can be moved to or from as they are.
#pragma once

#include <span>

#include "residency/locker_bank.hpp"
#include "store/durable/format.hpp"
#include "transfer/pieces.hpp"

namespace cubby::engine {

/// Is every piece on pages? Each but the last has a multiple of `unit_bytes`, the last one of
/// `last_unit_bytes`.
[[nodiscard]] inline bool lies_on_pages(const residency::locker_bank &bank,
                                        std::span<const transfer::memory_piece> pieces,
                                        uint64_t unit_bytes, uint64_t last_unit_bytes) {
  if (bank.part_count() != 1) return false;
  for (size_t i = 0; i < pieces.size(); ++i) {
    const uint64_t unit = i + 1 == pieces.size() ? last_unit_bytes : unit_bytes;
    if (reinterpret_cast<uintptr_t>(pieces[i].at) % store::page_bytes != 0) return false;
    if (pieces[i].bytes % unit != 0) return false;
  }
  return true;
}

/// Where the byte `behind_bytes` of the block lies, and how many follow it there in a row.
[[nodiscard]] inline transfer::memory_piece place_in(std::span<const transfer::memory_piece> pieces,
                                                     uint64_t behind_bytes) {
  for (const transfer::memory_piece &one : pieces) {
    if (behind_bytes < one.bytes) return {one.at + behind_bytes, one.bytes - behind_bytes};
    behind_bytes -= one.bytes;
  }
  return {};
}

}  // namespace cubby::engine
