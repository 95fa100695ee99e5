#include "store/chunks.hpp"

#include <algorithm>

namespace cubby::store {

chunk_position chunk_of(uint64_t offset_bytes, uint64_t bytes, uint32_t chunk_bytes,
                        uint64_t at_bytes) noexcept {
  CUBBY_ASSERT(is_chunk_size(chunk_bytes));
  CUBBY_ASSERT(at_bytes < bytes && bytes <= part_bytes_max);
  const uint64_t skew = offset_bytes % chunk_align_bytes;
  const uint64_t chunk = (skew + at_bytes) / chunk_bytes;
  const uint64_t from = std::max(skew, chunk * chunk_bytes);
  return {static_cast<uint32_t>(chunk), skew + at_bytes - from};
}

}  // namespace cubby::store
