// Places of digests.
#include "catalog/digest_table.hpp"

#include "store/chunks.hpp"
#include "support/catch.hpp"

namespace digest_table_test {

using namespace cubby;
using namespace cubby::catalog;

TEST_CASE("every chunk of the worst skew has a place of its own, and the size is known before") {
  static constexpr uint64_t row_bytes[] = {8'200, 4'096}, part_bytes[] = {8'192, 8, 4'000, 96};
  cubby_bank_desc desc{};
  desc.rows = 2;
  desc.columns = 3;
  desc.row_bytes = row_bytes;
  desc.part_count = 2;
  desc.part_bytes = part_bytes;
  desc.chunk_bytes = 4096;
  const auto grid = bank_geometry::describe(desc);
  REQUIRE(grid.ok());
  CHECK(digest_table().empty());
  digest_table made(*grid);
  uint64_t serial = 0;
  for (const bool write : {true, false}) {
    uint64_t wanted = 0;
    for (uint32_t row = 0; row < 2; ++row) {
      for (uint32_t part = 0; part < 2; ++part) {
        const uint64_t bytes = grid->part_bytes(row, part);
        const uint32_t chunks = store::chunk_count(4095, bytes, 4096);
        for (uint32_t column = 0; column < 3; ++column) {
          for (uint32_t chunk = 0; chunk < chunks; ++chunk) {
            uint64_t &digest = made.at(grid->row_part(row, part), column, chunk);
            CHECK(digest == (write ? 0 : ++wanted));
            if (write) digest = ++serial;
          }
        }
      }
    }
  }
  CHECK(made.bytes() == serial * sizeof(uint64_t));
  CHECK(digest_table::bytes_for(*grid) == made.bytes());
}

}  // namespace digest_table_test
