// One bank: a grid of lockers, where their bytes lie in files, how they lie in a frame, and the
// words that say where each one is now.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "store/chunks.hpp"
#include "store/model_file.hpp"
#include "table/bank_row.hpp"
#include "table/locker_word.hpp"
#include "tier/memory_tier.hpp"

namespace cubby::table {

inline constexpr uint32_t tiers_max = 8;
inline constexpr uint64_t locker_count_max = uint64_t{1} << 31;

/// A file that a bank reads, opened through the runtime's file channel.
struct bank_file {
  std::string path;
  uint32_t number = 0;  // of the backend; 0 = not open
  uint64_t bytes = 0, device = 0, inode = 0, mtime_ns = 0, header_digest = 0;
};

/// A part's bytes in a file.
struct part_extent {
  uint32_t file = 0;
  uint64_t offset_bytes = 0, bytes = 0;
};

/// How the parts of a locker lie in a frame.
enum class frame_layout : uint8_t {
  skewed,  // as the pages of the file hold them: frame + (offset mod 4096), nothing is copied
  packed,  // one after the other, each aligned as the bank asks
  pieces,  // each part in a lent piece of its own
};

/// Where a part begins in the frames of one row's lockers:
/// fixed_bytes + ((file_offset_bytes + column · file_stride_bytes) & skew_mask).
struct part_place {
  uint64_t fixed_bytes, file_offset_bytes, file_stride_bytes, skew_mask;
  bool scattered;  // the file has no stride: ask part_offset()
};

class bank {
 public:
  /// From a description by the caller; files come with map().
  static result<std::unique_ptr<bank>> describe(const cubby_bank_desc &desc);
  /// From an adopted model file.
  static result<std::unique_ptr<bank>> adopt(const store::model_bank &model,
                                             const std::vector<store::model_part_file> &files,
                                             const std::string &name);
  /// Says where the lockers of a described bank lie. Extents must name every part of every locker
  /// whole, and lie inside the files.
  /// `files` is taken only where it succeeds; otherwise, also where it throws, nothing has changed.
  result<void> map(std::vector<bank_file> &&files, const cubby_extent *extents, uint64_t count,
                   bool digests = false);

  [[nodiscard]] uint64_t count() const { return count_; }
  [[nodiscard]] uint32_t rows() const { return rows_; }
  [[nodiscard]] uint32_t columns() const { return columns_; }
  [[nodiscard]] uint32_t part_count() const { return part_count_; }
  [[nodiscard]] uint32_t row_of(uint32_t number) const { return number / columns_; }
  [[nodiscard]] uint64_t locker_bytes(uint32_t number) const { return row_bytes_[row_of(number)]; }
  [[nodiscard]] uint64_t part_bytes(uint32_t row, uint32_t part) const {
    return part_bytes_[row * part_count_ + part];
  }
  [[nodiscard]] bool mapped() const { return !runs_.empty(); }
  [[nodiscard]] part_extent extent(uint32_t number, uint32_t part) const;
  [[nodiscard]] uint32_t chunk_bytes() const { return chunk_bytes_; }
  [[nodiscard]] uint32_t align_bytes() const { return desc_.align_bytes; }
  /// Can frames hold the file's own pages, without copying?
  [[nodiscard]] bool skew_ok() const { return mapped() && natural_align_ >= desc_.align_bytes; }

  [[nodiscard]] uint64_t frame_bytes(frame_layout layout, uint32_t number) const {
    return frame_bytes_[layout == frame_layout::skewed ? 0 : 1][row_of(number)];
  }
  [[nodiscard]] uint64_t frame_bytes_max(frame_layout layout) const;
  [[nodiscard]] part_place place_of(frame_layout layout, uint32_t row, uint32_t part) const {
    if (layout == frame_layout::pieces) return {};
    const uint32_t at = row * part_count_ + part;
    if (layout == frame_layout::packed) return {part_offsets_[1][at], 0, 0, 0, false};
    const store::part_run &run = runs_[at];
    return {part_offsets_[0][at], run.offset_bytes, run.stride_bytes, 4095,
            run.stride_bytes == 0 && columns_ != 1};
  }
  /// Where a part's first byte lies behind the part's base in a frame.
  [[nodiscard]] uint64_t part_offset(frame_layout layout, uint32_t number, uint32_t part) const {
    const uint32_t row = row_of(number);
    const uint32_t column = number - row * columns_;
    const part_place at = place_of(layout, row, part);
    const uint64_t offset = at.scattered ? loose_[row * part_count_ + part][column].offset_bytes
                                         : at.file_offset_bytes + column * at.file_stride_bytes;
    return at.fixed_bytes + (offset & at.skew_mask);
  }

  /// Digest of a chunk; 0 = not known. The chunk is one of extent(number, part).
  [[nodiscard]] uint64_t &digest(uint32_t number, uint32_t part, uint32_t chunk);
  /// May throw, and then nothing has changed.
  void make_digests();
  /// Digests in the order locker, part, chunk, as a seal holds them.
  result<void> load_seal(const std::vector<uint64_t> &digests);
  [[nodiscard]] uint64_t chunk_total() const;
  [[nodiscard]] uint64_t digest_bytes() const { return digests_.capacity() * sizeof(uint64_t); }
  [[nodiscard]] uint64_t table_bytes() const;
  /// Bytes of its words and rows for one tier.
  [[nodiscard]] uint64_t tier_bytes() const;
  /// Bytes of its digests once it is mapped; asked before they are made.
  [[nodiscard]] uint64_t digest_bytes_wanted() const;

  /// The caller's view; pointers stand as long as the bank.
  [[nodiscard]] const cubby_bank_desc &desc() const { return desc_; }
  [[nodiscard]] const std::string &part_name(uint32_t part) const { return part_names_[part]; }
  [[nodiscard]] const std::string &part_type(uint32_t row, uint32_t part) const {
    return part_types_[row * part_count_ + part];
  }
  [[nodiscard]] const std::string &part_tensor(uint32_t row, uint32_t part) const {
    return part_tensors_[row * part_count_ + part];
  }

  [[nodiscard]] const std::array<uint64_t, 4> &part_shape(uint32_t row, uint32_t part) const {
    return part_shapes_[row * part_count_ + part];
  }

  /// Words of the lockers in a tier; nullptr before add_tier().
  [[nodiscard]] locker_word *words(uint32_t tier) const {
    return words_[tier].load(std::memory_order_acquire);
  }
  [[nodiscard]] locker_word &word(uint32_t tier, uint32_t number) const {
    return words(tier)[places_.of(number)];
  }
  /// For pins.
  [[nodiscard]] const bank_row &row_in(uint32_t tier, uint32_t row) const {
    return tier_rows_[tier][row];
  }
  /// Again once the bank is mapped.
  void add_tier(uint32_t tier, frame_layout layout, const tier::frame_address &memory);
  [[nodiscard]] frame_layout layout(uint32_t tier) const {
    return layouts_[tier].load(std::memory_order_acquire);
  }
  [[nodiscard]] uint64_t frame_bytes_in(uint32_t tier, uint32_t number) const {
    return frame_bytes(layout(tier), number);
  }

  std::vector<bank_file> files;
  bool sealed = false;
  /// What digests bind to: the same in every process.
  uint64_t digest_space = 0;
  cubby_bank handle = 0;
  uint32_t object_base = 0;  // of the policies' dense numbers
  /// Set when a file changed underneath: nothing is loaded from it any more.
  error failed{.status = CUBBY_OK, .text = {}};
  uint32_t file_tier = ~uint32_t{0};  // through which its files are open
  uint32_t routed_seen = 0;  // most lockers of a row that a sequence used, where that is not told
  uint64_t looked_ns = 0;    // when the files' identity was last looked at
  std::atomic<bool> removed{false};

 private:
  bank() = default;
  void set_grid(uint32_t rows, uint32_t columns);
  void place_rows(uint32_t tier, frame_layout layout, const tier::frame_address &memory);
  result<void> check_geometry(const cubby_bank_desc &desc);
  void find_strides();
  void lay_out();
  void lay_out_pages();
  void fill_desc(const std::string &name, const std::string &policy);

  cubby_bank_desc desc_{};
  std::string name_, policy_;
  uint32_t rows_ = 0, columns_ = 0, part_count_ = 1;
  uint64_t count_ = 0;  // rows · columns
  word_places places_;
  uint32_t chunk_bytes_ = 0;
  uint64_t natural_align_ = 4096;
  std::vector<uint64_t> row_bytes_, part_bytes_;
  std::vector<uint32_t> row_layers_;
  std::vector<std::string> part_names_, part_types_, part_tensors_;
  std::vector<std::array<uint64_t, 4>> part_shapes_;
  std::vector<store::part_run> runs_;                  // [row * part_count + part]
  std::vector<std::vector<store::part_run>> loose_;    // the same, where columns follow no stride
  std::array<std::vector<uint64_t>, 2> frame_bytes_;   // [skewed, packed][row]
  std::array<std::vector<uint64_t>, 2> part_offsets_;  // [skewed, packed][row * part_count + part]
  std::vector<uint64_t> digests_;
  std::vector<uint64_t> digest_start_;  // [row * part_count + part]: of column 0
  std::vector<uint32_t> digest_span_;   // [row * part_count + part]: slots a column
  // Calls that pin read these beside map(): what a layout names stands before it is said.
  std::array<std::atomic<frame_layout>, tiers_max> layouts_{};
  std::array<std::unique_ptr<locker_word[]>, tiers_max> owned_words_;
  std::array<std::atomic<locker_word *>, tiers_max> words_{};
  std::array<std::unique_ptr<bank_row[]>, tiers_max> tier_rows_;
  std::array<std::unique_ptr<part_address[]>, tiers_max> addresses_;  // [row * part_count + part]
};

}  // namespace cubby::table
