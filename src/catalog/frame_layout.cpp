#include "catalog/frame_layout.hpp"

#include <algorithm>

#include "base/checked.hpp"

namespace cubby::catalog {
namespace {

constexpr uint64_t pack_align_bytes_min = 64;

/// Pages that hold the part of every column, whatever its skew is.
uint64_t pages_of(const bank_geometry &grid, const file_map &map, uint32_t row, uint32_t part) {
  const uint64_t bytes = grid.part_bytes(row, part);
  const size_t at = grid.row_part(row, part);
  uint64_t pages = 0;
  for (uint32_t column = 0; column < grid.columns(); ++column) {
    const uint64_t skew = map.position(at, column).offset_bytes & (page_bytes - 1);
    pages = std::max(pages, base::align_up(skew + bytes, page_bytes));
  }
  return pages;
}

}  // namespace

frame_layouts::frame_layouts(const bank_geometry &grid, const file_map &map, uint32_t align_bytes) {
  const uint64_t pack_align = std::max<uint64_t>(align_bytes, pack_align_bytes_min);
  for (uint32_t row = 0; row < grid.rows(); ++row) {
    uint64_t skewed = 0;
    uint64_t packed = 0;
    for (uint32_t part = 0; part < grid.part_count(); ++part) {
      skewed_.part_offsets.push_back(skewed);
      packed_.part_offsets.push_back(packed);
      packed = base::align_up(packed + grid.part_bytes(row, part), pack_align);
      if (!map.empty()) skewed += pages_of(grid, map, row, part);
    }
    skewed_.frame_bytes.push_back(skewed);
    packed_.frame_bytes.push_back(packed);
    skewed_.frame_bytes_max = std::max(skewed_.frame_bytes_max, skewed);
    packed_.frame_bytes_max = std::max(packed_.frame_bytes_max, packed);
  }
}

uint64_t frame_layouts::table_bytes() const {
  uint64_t bytes = 0;
  for (const one_layout *one : {&skewed_, &packed_}) {
    bytes += (one->frame_bytes.capacity() + one->part_offsets.capacity()) * sizeof(uint64_t);
  }
  return bytes;
}

}  // namespace cubby::catalog
