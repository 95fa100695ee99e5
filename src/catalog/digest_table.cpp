#include "catalog/digest_table.hpp"

#include "base/assert.hpp"
#include "store/chunks.hpp"

namespace cubby::catalog {
namespace {

/// Chunks of a part whose skew is the worst: it may add one.
uint32_t chunks_most(const bank_geometry &grid, uint32_t row, uint32_t part) {
  return store::chunk_count(page_bytes - 1, grid.part_bytes(row, part), grid.chunk_bytes());
}

}  // namespace

digest_table::digest_table(const bank_geometry &grid) {
  uint64_t total = 0;
  runs_.reserve(grid.row_parts());
  for (uint32_t row = 0; row < grid.rows(); ++row) {
    for (uint32_t part = 0; part < grid.part_count(); ++part) {
      runs_.push_back({total, chunks_most(grid, row, part)});
      total += uint64_t{runs_.back().a_column} * grid.columns();
    }
  }
  digests_.assign(total, 0);
}

uint64_t &digest_table::at(size_t row_part, uint32_t column, uint32_t chunk) {
  const run &of = runs_[row_part];
  CUBBY_ASSERT(chunk < of.a_column);
  return digests_[of.first + uint64_t{column} * of.a_column + chunk];
}

uint64_t digest_table::bytes_for(const bank_geometry &grid) {
  uint64_t total = 0;
  for (uint32_t row = 0; row < grid.rows(); ++row) {
    for (uint32_t part = 0; part < grid.part_count(); ++part) {
      total += uint64_t{chunks_most(grid, row, part)} * grid.columns();
    }
  }
  return total * sizeof(uint64_t);
}

}  // namespace cubby::catalog
