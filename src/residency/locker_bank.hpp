// A bank of a runtime: its description, and the words that say where each locker is now.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/abi.hpp"
#include "base/result.hpp"
#include "catalog/bank_description.hpp"
#include "residency/bank_row.hpp"
#include "residency/key_blocks.hpp"
#include "residency/locker_word.hpp"
#include "tier/memory_tier.hpp"

namespace cubby::residency {

inline constexpr uint32_t tiers_max = 8;

/// What was last seen of the files that a bank is read from through one tier.
struct file_state {
  uint64_t looked_ns = 0;  // when their identity was last looked at
  bool left_out = false;   // they changed: not read any more
};

/// The files of a bank on another device, which its lockers are read from as well.
struct file_copies {
  uint32_t tier = ~uint32_t{0};           // through which they are open
  std::vector<catalog::bank_file> files;  // in the order of the bank's own
  file_state state;
};

class locker_bank : public catalog::bank_description {
 public:
  /// From a description by the caller; files come with map().
  static result<std::unique_ptr<locker_bank>> describe(const cubby_bank_desc &desc);
  /// From an adopted model file.
  static result<std::unique_ptr<locker_bank>> adopt(
      const store::model_bank &model, const std::vector<store::model_part_file> &files,
      const std::string &name);
  /// Says where the lockers of a described bank lie. Extents must name every part of every locker
  /// whole, and lie inside the files. A bank that could not be mapped, and `files`, are as they
  /// were.
  result<void> map(std::vector<catalog::bank_file> &&files, const cubby_extent *extents,
                   uint64_t count, bool with_digests = false);

  /// Words of the lockers in a tier; nullptr before add_tier().
  [[nodiscard]] locker_word *words(uint32_t tier) const {
    return words_[tier].load(std::memory_order_acquire);
  }
  [[nodiscard]] locker_word &word(uint32_t tier, uint32_t number) const {
    return words(tier)[places_.of(number)];
  }
  [[nodiscard]] const word_places &places() const { return places_; }
  /// For pins.
  [[nodiscard]] const bank_row &row_in(uint32_t tier, uint32_t row) const {
    return tier_rows_[tier][row];
  }
  /// After the handle is set; again once the bank is mapped, which then cannot fail.
  void add_tier(uint32_t tier, catalog::frame_layout layout, const tier::frame_address &memory);
  [[nodiscard]] catalog::frame_layout layout(uint32_t tier) const {
    return layouts_[tier].load(std::memory_order_acquire);
  }
  [[nodiscard]] uint64_t frame_bytes_in(uint32_t tier, uint32_t number) const {
    return frame_bytes(layout(tier), number);
  }
  /// As the description says; of a KV block, as far as it has bytes. A block is stored with its
  /// parts one behind the other, each of which counts from its own first byte here.
  [[nodiscard]] catalog::part_extent extent(uint32_t number, uint32_t part) const {
    return blocks == nullptr ? bank_description::extent(number, part) : block_extent(number, part);
  }
  /// What the digests of a locker are bound to. A KV block's are of its content alone: its number
  /// is another after a restart, and its digests lie where its number says.
  [[nodiscard]] uint64_t digest_owner(uint32_t number) const {
    return blocks != nullptr ? 0 : digest_space << 48 | number;
  }
  [[nodiscard]] uint64_t table_bytes() const;
  /// Bytes of its words and rows for one tier.
  [[nodiscard]] uint64_t tier_bytes() const;

  cubby_bank handle = 0;
  uint32_t object_base = 0;  // of the policies' dense numbers
  /// Set when a file changed underneath: nothing is loaded from it any more.
  error failed{.status = CUBBY_OK, .text = {}};
  uint32_t file_tier = ~uint32_t{0};  // through which its files are open
  uint32_t routed_seen = 0;  // most lockers of a row that a sequence used, where that is not given
  file_state state_of_files;
  std::vector<file_copies> copies;
  std::atomic<bool> removed{false};
  std::unique_ptr<key_blocks> blocks;  // of a bank of KV blocks; their lockers are named by key

 private:
  locker_bank(catalog::bank_geometry grid, catalog::bank_mapping mapping);
  [[nodiscard]] catalog::part_extent block_extent(uint32_t number, uint32_t part) const;
  void make_rows(uint32_t tier);
  void place_rows(uint32_t tier, catalog::frame_layout layout, const tier::frame_address &memory);

  const word_places places_;
  // Calls that pin read these beside map(): what a layout names is there before it is published.
  std::array<std::atomic<catalog::frame_layout>, tiers_max> layouts_{};
  std::array<std::unique_ptr<locker_word[]>, tiers_max> owned_words_;
  std::array<std::atomic<locker_word *>, tiers_max> words_{};
  std::array<std::unique_ptr<bank_row[]>, tiers_max> tier_rows_;
  std::array<std::unique_ptr<part_address[]>, tiers_max> addresses_;  // [row * part_count + part]
};

}  // namespace cubby::residency
