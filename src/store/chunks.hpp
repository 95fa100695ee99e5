// Where the parts of lockers are cut into chunks, the unit of digests and of moves. Decided here
// alone, so that a seal and the runtime never disagree.
//
// Cuts are at aligned positions of the file, counted from the page the part begins in: no two
// chunks of a part share a page, so a page once verified is not read into again. The first chunk is
// shorter by the part's skew, and a part of one chunk size may have two chunks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "base/assert.hpp"

namespace cubby::store {

/// A part that fits is one chunk; longer ones are cut.
inline constexpr uint32_t chunk_bytes_default = 256u << 10;
/// Cuts are at multiples of this.
inline constexpr uint64_t chunk_align_bytes = 4096;
/// Chunk sizes are powers of two and not less than this.
inline constexpr uint32_t chunk_bytes_min = 4096;
/// Longest part of one locker; keeps numbers of chunks within 32 bits for every chunk size.
inline constexpr uint64_t part_bytes_max = uint64_t{1} << 43;

/// A run of bytes in the file.
struct chunk_range {
  uint64_t offset_bytes;
  uint64_t bytes;
};

/// A chunk and the byte in it.
struct chunk_position {
  uint32_t chunk;
  uint64_t at_bytes;
};

[[nodiscard]] constexpr bool is_chunk_size(uint64_t bytes) noexcept {
  return bytes >= chunk_bytes_min && bytes <= (uint64_t{1} << 31) && (bytes & (bytes - 1)) == 0;
}

/// How many chunks has the part that lies at `offset_bytes` of its file? 0 for an empty one.
[[nodiscard]] inline uint32_t chunk_count(uint64_t offset_bytes, uint64_t bytes,
                                          uint32_t chunk_bytes) noexcept {
  CUBBY_ASSERT(is_chunk_size(chunk_bytes));
  CUBBY_ASSERT(bytes <= part_bytes_max);
  if (bytes == 0) return 0;
  return static_cast<uint32_t>((offset_bytes % chunk_align_bytes + bytes - 1) / chunk_bytes + 1);
}

/// Where `count` chunks of that part from number `first` on lie in the file; at least one, and no
/// more than there are.
[[nodiscard]] inline chunk_range chunks_at(uint64_t offset_bytes, uint64_t bytes,
                                           uint32_t chunk_bytes, uint32_t first,
                                           uint32_t count) noexcept {
  CUBBY_ASSERT(count != 0 &&
               uint64_t{first} + count <= chunk_count(offset_bytes, bytes, chunk_bytes));
  // Positions relative to the part's first page, so that nothing wraps near the end of a file.
  const uint64_t skew = offset_bytes % chunk_align_bytes;
  const uint64_t from = std::max(skew, uint64_t{first} * chunk_bytes);
  const uint64_t to = std::min(skew + bytes, (uint64_t{first} + count) * chunk_bytes);
  return {offset_bytes - skew + from, to - from};
}

/// Where chunk number `chunk` of that part lies in the file; `chunk` < chunk_count().
[[nodiscard]] inline chunk_range chunk_at(uint64_t offset_bytes, uint64_t bytes,
                                          uint32_t chunk_bytes, uint32_t chunk) noexcept {
  return chunks_at(offset_bytes, bytes, chunk_bytes, chunk, 1);
}

/// Which chunk holds byte `at_bytes` of that part, and where in the chunk; `at_bytes` < bytes.
[[nodiscard]] chunk_position chunk_of(uint64_t offset_bytes, uint64_t bytes, uint32_t chunk_bytes,
                                      uint64_t at_bytes) noexcept;

}  // namespace cubby::store
