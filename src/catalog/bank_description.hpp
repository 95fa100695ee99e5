// What is known of a bank without looking at any tier: its grid, where its bytes lie in files, how
// they lie in a frame, and their digests.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "catalog/bank_geometry.hpp"
#include "catalog/digest_table.hpp"
#include "catalog/file_map.hpp"
#include "catalog/frame_layout.hpp"
#include "store/chunks.hpp"

namespace cubby::catalog {

/// Where a part begins in the frames of one row's lockers:
/// fixed_bytes + ((file_offset_bytes + column · file_stride_bytes) & skew_mask).
struct part_place {
  uint64_t fixed_bytes, file_offset_bytes, file_stride_bytes, skew_mask;
  bool scattered;  // the file has no stride: ask part_offset()
};

/// All that mapping a bank changes. Made whole first, then installed without failing.
struct bank_mapping {
  std::vector<bank_file> files;
  file_map map;
  frame_layouts layouts;
  digest_table digests;  // empty where none are wanted
  uint32_t align_bytes = 0;
};

class bank_description {
 public:
  explicit bank_description(bank_geometry grid, bank_mapping mapping);
  bank_description(const bank_description &) = delete;
  bank_description &operator=(const bank_description &) = delete;

  /// Of a bank whose files come later.
  static bank_mapping unmapped(const bank_geometry &grid);
  static bank_mapping adopt(const bank_geometry &grid, const store::model_bank &model,
                            const std::vector<store::model_part_file> &files);
  /// Where the lockers of a described bank lie. After an error, and when this throws, the bank is
  /// as it was.
  [[nodiscard]] result<bank_mapping> prepare(cubby_bank handle, std::vector<bank_file> files,
                                             std::span<const cubby_extent> extents,
                                             bool with_digests) const;
  void install(bank_mapping &&mapping) noexcept;

  [[nodiscard]] const bank_geometry &grid() const { return grid_; }
  [[nodiscard]] uint64_t count() const { return grid_.count(); }
  [[nodiscard]] uint32_t part_count() const { return grid_.part_count(); }
  [[nodiscard]] uint32_t row_of(uint32_t number) const { return grid_.row_of(number); }
  [[nodiscard]] uint64_t locker_bytes(uint32_t number) const { return grid_.locker_bytes(number); }
  [[nodiscard]] uint64_t part_bytes(uint32_t row, uint32_t part) const {
    return grid_.part_bytes(row, part);
  }
  /// The caller's view; its pointers are valid as long as the bank.
  [[nodiscard]] const cubby_bank_desc &desc() const { return desc_; }
  [[nodiscard]] uint32_t align_bytes() const { return desc_.align_bytes; }

  [[nodiscard]] bool mapped() const { return !map_.empty(); }
  [[nodiscard]] part_extent extent(uint32_t number, uint32_t part) const {
    const uint64_t bytes = grid_.bytes_of_part(number, part);
    if (!mapped()) return {0, 0, bytes};
    const auto at = map_.position(grid_.row_part(row_of(number), part), grid_.column_of(number));
    return {at.file, at.offset_bytes, bytes};
  }
  /// Can frames hold the file's own pages, without copying?
  [[nodiscard]] bool skew_ok() const {
    return mapped() && map_.natural_align_bytes() >= desc_.align_bytes;
  }

  [[nodiscard]] uint64_t frame_bytes(frame_layout layout, uint32_t number) const {
    return layouts_.frame_bytes(layout, row_of(number));
  }
  [[nodiscard]] uint64_t frame_bytes_max(frame_layout layout) const {
    return layouts_.frame_bytes_max(layout);
  }
  [[nodiscard]] part_place place_of(frame_layout layout, uint32_t row, uint32_t part) const;
  /// Where a part's first byte lies behind the part's base in a frame.
  [[nodiscard]] uint64_t part_offset(frame_layout layout, uint32_t number, uint32_t part) const {
    if (layout == frame_layout::pieces) return 0;
    const size_t at = grid_.row_part(row_of(number), part);
    const uint64_t fixed_bytes = layouts_.part_offset(layout, at);
    if (layout == frame_layout::packed) return fixed_bytes;
    const uint64_t offset_bytes = map_.position(at, grid_.column_of(number)).offset_bytes;
    return fixed_bytes + (offset_bytes & (page_bytes - 1));
  }

  /// Digest of a chunk; 0 = not known. The chunk is one of extent(number, part).
  [[nodiscard]] uint64_t &digest(uint32_t number, uint32_t part, uint32_t chunk) {
    return digests_.at(grid_.row_part(row_of(number), part), grid_.column_of(number), chunk);
  }
  /// Places for digests of a bank that has none yet.
  void make_digests();
  /// Digests in the order locker, part, chunk, as a seal holds them.
  result<void> load_seal(const std::vector<uint64_t> &digests);
  [[nodiscard]] uint64_t chunk_total() const;
  [[nodiscard]] uint64_t digest_bytes() const { return digests_.bytes(); }
  /// Without digests.
  [[nodiscard]] uint64_t table_bytes() const { return map_.table_bytes() + layouts_.table_bytes(); }

  std::vector<bank_file> files;
  bool sealed = false;
  /// What digests bind to: the same in every process.
  uint64_t digest_space = 0;

 private:
  const bank_geometry grid_;
  file_map map_;
  frame_layouts layouts_;
  digest_table digests_;
  cubby_bank_desc desc_{};
};

}  // namespace cubby::catalog
