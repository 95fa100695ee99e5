// The lockers of one row in one tier, as a pin sees them: everything that it has to know of the
// bank is beside each other, for the routed experts of a layer are one row.
#pragma once

#include <atomic>
#include <cstdint>

#include "base/abi.hpp"
#include "residency/locker_word.hpp"

namespace cubby::residency {

class locker_bank;

/// Where a part of a row's lockers begins in the frames of a tier.
struct part_address {
  uintptr_t base = 0;
  uint64_t stride_bytes = 0, file_offset_bytes = 0, file_stride_bytes = 0, skew_mask = 0;

  [[nodiscard]] const void *of(uint64_t frame, uint64_t column) const {
    const uint64_t skew = (file_offset_bytes + column * file_stride_bytes) & skew_mask;
    return reinterpret_cast<const void *>(base + frame * stride_bytes + skew);
  }
};

/// In `space` of items that name blocks by number: those of the library, which found them by key.
inline constexpr cubby_space block_number_mark = ~cubby_space{0};

class bank_row {
 public:
  [[nodiscard]] uint32_t part_count() const {
    return static_cast<uint32_t>(last_part_ - parts_) + 1;
  }
  [[nodiscard]] bool takes(cubby_space space) const { return space == space_mark_; }
  /// One comparison for bank, row and column.
  [[nodiscard]] bool has(const cubby_item &item) const {
    return item.id - first_id_ < columns_ && item.space == space_mark_;
  }

  /// Pins the leading items that are of this row and resident, and writes where their parts begin.
  /// Returns how many: where it stops, another row begins, or something is not resident.
  [[gnu::always_inline]] uint32_t pin(const cubby_item *items, uint32_t count,
                                      std::atomic<locker_word *> *words, const void **addr) const {
    locker_word *const table = words_;
    std::atomic<locker_word *> *held = words;
    const void **to = addr;
    const cubby_item *item = items;
    for (const cubby_item *const end = items + count; item != end; ++item) {
      const uint64_t id = item->id;
      const uint64_t column = id - first_id_;
      if (column >= columns_ || item->space != space_mark_) break;
      locker_word &word = table[places_.of(static_cast<uint32_t>(id))];
      uint64_t frame = 0;
      if (word.pin(frame) != pin_outcome::pinned) break;
      held++->store(&word, std::memory_order_relaxed);
      if (to == nullptr) continue;
      const part_address *part = parts_;
      *to++ = part->of(frame, column);
      while (part != last_part_) *to++ = (++part)->of(frame, column);
    }
    const auto pinned = static_cast<uint32_t>(held - words);
    if (__atomic_load_n(&scattered_, __ATOMIC_RELAXED) && addr != nullptr)
      write_scattered(items, pinned, words, addr);
    return pinned;
  }

 private:
  friend class locker_bank;

  /// The same addresses where the columns of some part follow no stride in the file.
  void write_scattered(const cubby_item *items, uint32_t count,
                       const std::atomic<locker_word *> *words, const void **addr) const;

  // Before the bank is mapped nothing is resident, so parts are looked at only once they are known.
  uint64_t first_id_ = 0, columns_ = 0;
  locker_word *words_ = nullptr;
  word_places places_;
  const part_address *parts_ = nullptr, *last_part_ = nullptr;
  const locker_bank *bank_ = nullptr;
  uint32_t tier_ = 0;
  cubby_space space_mark_ = 0;  // what items of the row have in `space`
  bool scattered_ = false;
};

}  // namespace cubby::residency
