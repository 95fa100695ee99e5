#include "store/chunks.hpp"

#include <algorithm>

#include "base/assert.hpp"
#include "base/checked.hpp"

namespace cubby::store {
namespace {

uint64_t skew_of(uint64_t offset_bytes) { return offset_bytes % chunk_align_bytes; }

}  // namespace

uint32_t chunk_count(uint64_t offset_bytes, uint64_t bytes, uint32_t chunk_bytes) noexcept {
  CUBBY_ASSERT(is_chunk_size(chunk_bytes));
  CUBBY_ASSERT(bytes <= part_bytes_max);
  if (bytes == 0) return 0;
  return static_cast<uint32_t>((skew_of(offset_bytes) + bytes - 1) / chunk_bytes + 1);
}

chunk_range chunk_at(uint64_t offset_bytes, uint64_t bytes, uint32_t chunk_bytes,
                     uint32_t chunk) noexcept {
  CUBBY_ASSERT(chunk < chunk_count(offset_bytes, bytes, chunk_bytes));
  // Positions relative to the part's first page, so that nothing wraps near the end of a file.
  const uint64_t skew = skew_of(offset_bytes);
  const uint64_t cut = static_cast<uint64_t>(chunk) * chunk_bytes;
  const uint64_t from = std::max(skew, cut);
  const uint64_t to = std::min(skew + bytes, cut + chunk_bytes);
  return {offset_bytes - skew + from, to - from};
}

chunk_position chunk_of(uint64_t offset_bytes, uint64_t bytes, uint32_t chunk_bytes,
                        uint64_t at_bytes) noexcept {
  CUBBY_ASSERT(is_chunk_size(chunk_bytes));
  CUBBY_ASSERT(at_bytes < bytes && bytes <= part_bytes_max);
  const uint64_t skew = skew_of(offset_bytes);
  const uint64_t chunk = (skew + at_bytes) / chunk_bytes;
  const uint64_t from = std::max(skew, chunk * chunk_bytes);
  return {static_cast<uint32_t>(chunk), skew + at_bytes - from};
}

}  // namespace cubby::store
