// The lockers of one row in one tier, as a pin sees them: what has to be looked up in the bank is
// looked up once for all of a set, for the routed experts of a layer are one row.
#pragma once

#include <cstdint>

#include "table/controller.hpp"

namespace cubby::table {

class row_view {
  static constexpr uint64_t number_mask = (uint64_t{1} << 48) - 1;

 public:
  // Nothing before look_at() has found a row: a pin has no time to clear it.
  row_view() {}  // NOLINT(modernize-use-equals-default,cppcoreguidelines-pro-type-member-init)

  /// The row of the item. False when it names no locker by number.
  bool look_at(const controller &house, uint32_t tier, const cubby_item &item) {
    where_ = house.bank_of(static_cast<cubby_bank>(item.id >> 48));
    const uint64_t number = item.id & number_mask;
    if (where_ == nullptr || number >= where_->count() || item.space != 0) return false;
    const uint32_t row = where_->row_of(static_cast<uint32_t>(number));
    house_ = &house;
    tier_ = tier;
    words_ = where_->words(tier);
    parts_ = where_->addresses(tier, row);
    places_ = where_->places();
    columns_ = where_->columns();
    part_count_ = where_->part_count();
    last_part_ = parts_ + part_count_ - 1;
    first_id_ = (item.id & ~number_mask) | (uint64_t{row} * columns_);
    return true;
  }

  [[nodiscard]] uint32_t part_count() const { return part_count_; }
  /// One comparison for bank, row and column.
  [[nodiscard]] bool has(const cubby_item &item) const {
    return item.id - first_id_ < columns_ && item.space == 0;
  }

  /// Pins the leading items that are of this row and resident, and writes where their parts begin.
  /// Returns how many: where it stops, another row begins, or something is not resident. Not
  /// inlined, so that the loop has the registers for itself.
  [[gnu::noinline]] uint32_t pin(const cubby_item *items, uint32_t count, locker_word **words,
                                 const void **addr) const {
    locker_word *const table = words_;
    locker_word **word = words;
    const void **to = addr;
    for (const cubby_item *const end = items + count; items != end; ++items) {
      const uint64_t id = items->id;
      const uint64_t column = id - first_id_;
      if (column >= columns_ || items->space != 0) break;
      locker_word &here = table[places_.of(static_cast<uint32_t>(id))];
      uint64_t frame = 0;
      if (here.pin(frame) != pin_outcome::pinned) break;
      *word++ = &here;
      if (to == nullptr) continue;
      for (const part_address *part = parts_;; ++part) {
        const uint64_t skew = part->file_offset_bytes + column * part->file_stride_bytes;
        *to++ = reinterpret_cast<const void *>(part->base + frame * part->stride_bytes +
                                               (skew & part->skew_mask));
        if (part == last_part_) [[likely]] break;
      }
    }
    const auto pinned = static_cast<uint32_t>(word - words);
    if (to != addr && parts_->scattered) write_scattered(items - pinned, pinned, words, addr);
    return pinned;
  }

 private:
  /// Of a row with parts whose columns follow no stride in the file.
  [[gnu::noinline]] void write_scattered(const cubby_item *items, uint32_t count,
                                         locker_word *const *words, const void **addr) const {
    for (uint32_t i = 0; i < count; ++i) {
      const uint64_t frame = words[i]->look().frame;
      for (uint32_t p = 0; p < part_count_; ++p) {
        *addr++ = house_->address(*where_, tier_, frame, static_cast<uint32_t>(items[i].id), p);
      }
    }
  }

  const controller *house_;
  const bank *where_;
  locker_word *words_;
  const part_address *parts_, *last_part_;
  uint64_t first_id_, columns_;
  word_places places_;
  uint32_t tier_, part_count_;
};

}  // namespace cubby::table
