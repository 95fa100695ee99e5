// Frame sizes and where parts begin in them.
#include "catalog/frame_layout.hpp"

#include "support/catch.hpp"

namespace frame_layout_test {

using namespace cubby;
using namespace cubby::catalog;

namespace {

/// Two rows of two lockers of two parts.
bank_geometry two_rows() {
  static constexpr uint64_t row_bytes[] = {5100, 9100}, part_bytes[] = {100, 5000, 4100, 5000};
  cubby_bank_desc desc{};
  desc.rows = 2;
  desc.columns = 2;
  desc.row_bytes = row_bytes;
  desc.part_count = 2;
  desc.part_bytes = part_bytes;
  return *bank_geometry::describe(desc);
}

}  // namespace

TEST_CASE("packed parts follow each other at the alignment, never below 64") {
  const bank_geometry grid = two_rows();
  const uint32_t align = GENERATE(1u, 64u, 256u);
  const frame_layouts made(grid, file_map(), align);
  const uint64_t step = std::max(align, 64u);
  CHECK(made.part_offset(frame_layout::packed, grid.row_part(0, 1)) == (step == 64 ? 128 : 256));
  CHECK(made.part_offset(frame_layout::packed, grid.row_part(1, 0)) == 0);
  CHECK(made.frame_bytes(frame_layout::packed, 0) % step == 0);
  CHECK(made.frame_bytes(frame_layout::packed, 0) >= 5100);
  CHECK(made.frame_bytes_max(frame_layout::packed) == made.frame_bytes(frame_layout::packed, 1));
  CHECK(made.frame_bytes_max(frame_layout::skewed) == 0);
}

TEST_CASE("skewed frames hold whole pages, as many as the worst column of each part needs") {
  const bank_geometry grid = two_rows();
  const std::vector<bank_file> files{{.path = "f", .bytes = 1 << 20}};
  std::vector<cubby_extent> extents;
  for (uint32_t number = 0; number < 4; ++number) {
    for (uint32_t part = 0; part < 2; ++part) {
      // Column 1 of part 0 straddles a page, column 0 does not.
      const uint64_t at = uint64_t{number} * 32'768 + part * 16'384 + (number % 2) * 4'032;
      extents.push_back({CUBBY_ID(1, number), part, 0, at, grid.part_bytes(number / 2, part)});
    }
  }
  const auto map = file_map::build(grid, 1, files, extents);
  REQUIRE(map.ok());
  const frame_layouts made(grid, *map, 64);
  CHECK(made.part_offset(frame_layout::skewed, grid.row_part(0, 1)) == 8192);
  CHECK(made.frame_bytes(frame_layout::skewed, 0) == 8192 + 12'288);
  CHECK(made.frame_bytes(frame_layout::skewed, 1) == 8192 + 12'288);
  CHECK(made.frame_bytes_max(frame_layout::skewed) == 20'480);
}

}  // namespace frame_layout_test
