// How the parts of a locker lie in a frame.
#pragma once

#include <array>
#include <cstdint>
#include <utility>
#include <vector>

#include "catalog/bank_geometry.hpp"
#include "catalog/file_map.hpp"

namespace cubby::catalog {

enum class frame_layout : uint8_t {
  skewed,  // as the pages of the file hold them: frame + (offset mod 4096), nothing is copied
  packed,  // one after the other, each aligned as the bank asks
  pieces,  // each part in a lent piece of its own
};

/// Frame sizes and offsets of parts in skewed and packed frames, computed once.
class frame_layouts {
 public:
  frame_layouts() = default;
  /// With an empty map there are no skewed frames, and their sizes are 0.
  frame_layouts(const bank_geometry &grid, const file_map &map, uint32_t align_bytes);

  /// The skewed frames of a bank that has been mapped. Packed ones are as they were, and may be
  /// looked at meanwhile: calls do so without the pump.
  void take_skewed(frame_layouts &&mapped) noexcept { skewed_ = std::move(mapped.skewed_); }

  [[nodiscard]] uint64_t frame_bytes(frame_layout layout, uint32_t row) const {
    return of(layout).frame_bytes[row];
  }
  [[nodiscard]] uint64_t frame_bytes_max(frame_layout layout) const {
    return of(layout).frame_bytes_max;
  }
  /// Where the part's pages (skewed) or its bytes (packed) begin in a frame.
  [[nodiscard]] uint64_t part_offset(frame_layout layout, size_t row_part) const {
    return of(layout).part_offsets[row_part];
  }
  [[nodiscard]] uint64_t table_bytes() const;

 private:
  struct one_layout {
    std::vector<uint64_t> frame_bytes;   // [row]
    std::vector<uint64_t> part_offsets;  // [row_part()]
    uint64_t frame_bytes_max = 0;
  };
  /// Lent pieces are counted as if they were packed.
  [[nodiscard]] const one_layout &of(frame_layout layout) const {
    return layout == frame_layout::skewed ? skewed_ : packed_;
  }

  one_layout skewed_, packed_;
};

}  // namespace cubby::catalog
