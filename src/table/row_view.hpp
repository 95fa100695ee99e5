// The lockers of one row in one tier, as a pin sees them: what has to be looked up in the bank is
// looked up once for all of a set, for the routed experts of a layer are one row.
#pragma once

#include <array>
#include <cstdint>

#include "table/bank.hpp"
#include "tier/memory_tier.hpp"

namespace cubby::table {

class row_view {
 public:
  // Covers nothing yet. The parts stay unset until look_at(): a pin has no time for them.
  row_view() {}  // NOLINT(modernize-use-equals-default): the default would clear the parts

  /// The row of `number`, which the bank has.
  void look_at(const bank &where, const tier::memory_tier &memory, uint32_t tier, uint32_t number) {
    where_ = &where;
    words_ = where.words(tier);
    layout_ = where.layout(tier);
    columns_ = where.columns();
    part_count_ = where.part_count();
    const uint32_t row = where.row_of(number);
    first_ = uint64_t{row} * columns_;
    scattered_ = false;
    for (uint32_t p = 0; p < part_count_; ++p) {
      const part_place at = where.place_of(layout_, row, p);
      parts_[p] = {memory.address().base[p] + at.fixed_bytes, memory.address().stride[p],
                   at.file_offset_bytes, at.file_stride_bytes, at.skew_mask};
      scattered_ = scattered_ || at.scattered;
    }
  }

  [[nodiscard]] uint64_t first() const { return first_; }
  [[nodiscard]] uint64_t columns() const { return columns_; }
  [[nodiscard]] uint32_t part_count() const { return part_count_; }
  [[nodiscard]] locker_word &word(uint64_t column) const {
    return words_[word_position(first_ + column)];
  }

  /// Where each part of the locker in this frame begins.
  void write_addresses(uint64_t frame, uint64_t column, const void **to) const {
    if (scattered_) return write_scattered(frame, column, to);
    for (uint32_t p = 0; p < part_count_; ++p) {
      const part &at = parts_[p];
      to[p] = reinterpret_cast<const void *>(
          at.base + frame * at.stride_bytes +
          ((at.file_offset_bytes + column * at.file_stride_bytes) & at.skew_mask));
    }
  }

 private:
  struct part {
    uintptr_t base;  // of frame 0, with what lies before the part in a frame
    uint64_t stride_bytes, file_offset_bytes, file_stride_bytes, skew_mask;
  };

  [[gnu::noinline]] void write_scattered(uint64_t frame, uint64_t column, const void **to) const {
    const auto number = static_cast<uint32_t>(first_ + column);
    const uint32_t row = where_->row_of(number);
    for (uint32_t p = 0; p < part_count_; ++p) {
      to[p] = reinterpret_cast<const void *>(parts_[p].base + frame * parts_[p].stride_bytes +
                                             where_->part_offset(layout_, number, p) -
                                             where_->place_of(layout_, row, p).fixed_bytes);
    }
  }

  const bank *where_ = nullptr;
  locker_word *words_ = nullptr;
  uint64_t first_ = 0, columns_ = 0;
  uint32_t part_count_ = 0;
  frame_layout layout_ = frame_layout::skewed;
  bool scattered_ = false;
  std::array<part, CUBBY_PARTS_MAX> parts_;  // the first part_count_
};

}  // namespace cubby::table
