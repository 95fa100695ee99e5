// What a gather of table rows copies from which page.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "transfer/pieces.hpp"

namespace cubby::engine {

struct gather_plan {
  /// A row of the page, and which of the asked ones it is: that says where it goes.
  struct row {
    uint32_t index = 0;
    uint64_t at_bytes = 0;  // in the page
  };

  std::vector<transfer::memory_piece> into;  // all rows that were asked for, in a row
  std::vector<uint64_t> into_ends;           // of its pieces
  uint32_t row_bytes = 0, row_count = 0;
  uint32_t copied_count = 0;   // rows that the call itself has copied
  std::vector<row> rows;       // the others, page by page
  std::vector<uint32_t> ends;  // [page]: where its rows end

  [[nodiscard]] std::span<const row> rows_of(uint32_t page) const {
    const uint32_t first = page == 0 ? 0 : ends[page - 1];
    return std::span(rows).subspan(first, ends[page] - first);
  }
  [[nodiscard]] uint64_t bytes_of(uint32_t page) const {
    return uint64_t{row_bytes} * rows_of(page).size();
  }
  /// Copies the page's rows to where they are wanted.
  void copy(uint32_t page, const std::byte *from) const {
    for (const row &one : rows_of(page)) {
      transfer::copy_to({into, into_ends}, uint64_t{one.index} * row_bytes, from + one.at_bytes,
                        row_bytes);
    }
  }
};

}  // namespace cubby::engine
