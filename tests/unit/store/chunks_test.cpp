// How parts are cut into chunks.
#include "support/catch.hpp"

#include "base/checked.hpp"
#include "store/chunks.hpp"

namespace chunks_test {

using namespace cubby::store;

namespace {

/// The definition, written out byte by byte: the chunk of a position of the file.
uint64_t chunk_by_definition(uint64_t offset, uint64_t position, uint32_t chunk_bytes) {
  return (position - cubby::base::align_down(offset, 4096)) / chunk_bytes;
}

}  // namespace

TEST_CASE("chunks cover a part without gap or overlap, cut at aligned positions of the file") {
  const uint64_t sizes[] = {1, 4095, 4096, 4097, 8192, 65535, 65536, 65537, 200000};
  const uint64_t offsets[] = {0, 1, 31, 4095, 4096, 4128, 65536 + 2048, (1ull << 40) + 160};
  for (const uint32_t chunk_bytes : {4096u, 16384u, 65536u, chunk_bytes_default})
    for (const uint64_t offset : offsets)
      for (const uint64_t bytes : sizes) {
        const uint32_t count = chunk_count(offset, bytes, chunk_bytes);
        CHECK(count == chunk_by_definition(offset, offset + bytes - 1, chunk_bytes) + 1);
        uint64_t next = offset;
        for (uint32_t k = 0; k < count; k++) {
          const chunk_range range = chunk_at(offset, bytes, chunk_bytes, k);
          if (range.offset_bytes != next || range.bytes == 0 || range.bytes > chunk_bytes)
            FAIL("offset " << offset << " bytes " << bytes << " chunk " << k);
          if (k > 0 && range.offset_bytes % 4096 != 0) FAIL("a cut that is not aligned");
          const chunk_position first = chunk_of(offset, bytes, chunk_bytes, next - offset);
          const uint64_t last_byte = next - offset + range.bytes - 1;
          const chunk_position last = chunk_of(offset, bytes, chunk_bytes, last_byte);
          if (first.chunk != k || first.at_bytes != 0) FAIL("first byte of chunk " << k);
          if (last.chunk != k || last.at_bytes != range.bytes - 1) FAIL("last byte of " << k);
          const chunk_range rest = chunks_at(offset, bytes, chunk_bytes, k, count - k);
          if (rest.offset_bytes != next || next + rest.bytes != offset + bytes)
            FAIL("a run of chunks from " << k << " on");
          next += range.bytes;
        }
        CHECK(next == offset + bytes);
      }
}

TEST_CASE("an empty part has no chunk, and a skewed part of one chunk size has two") {
  CHECK(chunk_count(77, 0, 4096) == 0);
  CHECK(chunk_count(4096, 65536, 65536) == 1);
  CHECK(chunk_count(4096 + 32, 65536, 65536) == 2);
  CHECK(chunk_at(4096 + 32, 65536, 65536, 0).bytes == 65536 - 32);
  CHECK(chunk_at(4096 + 32, 65536, 65536, 1).bytes == 32);
}

}  // namespace chunks_test
