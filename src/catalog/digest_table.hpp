// The digests of a bank's chunks. 0 = not known.
#pragma once

#include <cstdint>
#include <vector>

#include "catalog/bank_geometry.hpp"

namespace cubby::catalog {

class digest_table {
 public:
  digest_table() = default;
  /// A place for every chunk; none is known.
  explicit digest_table(const bank_geometry &grid);

  [[nodiscard]] bool empty() const { return digests_.empty(); }
  /// `row_part` is the geometry's row_part().
  [[nodiscard]] uint64_t &at(size_t row_part, uint32_t column, uint32_t chunk);
  [[nodiscard]] uint64_t bytes() const { return digests_.capacity() * sizeof(uint64_t); }
  /// What bytes() of a table for this bank will be.
  [[nodiscard]] static uint64_t bytes_for(const bank_geometry &grid);

 private:
  /// The places of one row and part.
  struct run {
    uint64_t first = 0;     // of column 0
    uint32_t a_column = 0;  // how many each column has
  };

  std::vector<uint64_t> digests_;
  std::vector<run> runs_;
};

}  // namespace cubby::catalog
