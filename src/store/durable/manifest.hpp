// A manifest: the table of live blocks and of spaces in one of two slots, so that the journal stays
// short. Written piece by piece while puts go on: what changes meanwhile is in the journal from
// where replay begins, and a replayed record never replaces a later generation.
#pragma once

#include <cstdint>

#include "store/durable/block_table.hpp"
#include "store/durable/format.hpp"
#include "store/durable/pages.hpp"
#include "store/durable/space_table.hpp"

namespace cubby::store {

/// The head's page, both copies alike.
void encode_head(uint64_t store_id, manifest_head head, void *page) noexcept;
/// False when damaged, or of another place. The sequence also says the slot.
bool decode_head(uint64_t store_id, const void *page, manifest_head &out) noexcept;

void encode_entry(uint64_t store_id, uint64_t sequence, uint64_t index, const block_body &body,
                  void *page) noexcept;
bool decode_entry(uint64_t store_id, uint64_t sequence, uint64_t index, const void *page,
                  block_body &out) noexcept;

/// All spaces into space_pages zeroed pages; how many there are.
uint32_t encode_spaces(uint64_t store_id, uint64_t sequence, const space_table &spaces,
                       const page_buffer &pages) noexcept;
bool decode_space(uint64_t store_id, uint64_t sequence, uint32_t index, const void *page,
                  space_body &out) noexcept;

/// Writes a manifest, one bounded piece at a time.
class checkpoint {
 public:
  explicit checkpoint(const layout &places) : places_(places) {}

  /// From now on. `journal_from`: all records of pages before it are in the tables. `clear_first`:
  /// the heads of an attempt that failed may be in the slot, and must not stand for these entries.
  void begin(uint64_t sequence, uint64_t journal_from, bool clear_first = false) noexcept;
  /// Nothing of it is outstanding, and it is given up.
  void cancel() noexcept;
  [[nodiscard]] bool active() const noexcept { return stage_ != stage::idle; }

  struct piece {
    enum class kind : uint8_t { none, write, flush } what = kind::none;
    uint64_t offset_bytes = 0;
    const void *data = nullptr;
    uint64_t bytes = 0;
  };
  /// The next piece; none while one is outstanding.
  piece next(const block_table &blocks, const space_table &spaces, uint64_t generation) noexcept;
  /// The piece is done; true when the manifest is complete.
  bool advance() noexcept;

  [[nodiscard]] uint64_t sequence() const noexcept { return sequence_; }
  [[nodiscard]] uint64_t journal_from() const noexcept { return journal_from_; }

 private:
  enum class stage : uint8_t {
    idle,
    clear_head,
    clear_head_again,
    clear_flush,
    spaces,
    entries,
    spaces_again,
    flush,
    head,
    head_again,
    head_flush
  };
  static constexpr uint32_t pages_a_piece = 64;

  uint32_t fill_entries(const block_table &blocks) noexcept;
  piece write_at(uint64_t page_of_slot, uint64_t pages) const noexcept;
  piece write_spaces(const space_table &spaces, uint64_t page_of_slot) noexcept;
  piece write_head(const space_table &spaces, uint64_t generation, uint64_t page) noexcept;

  layout places_;
  stage stage_ = stage::idle;
  bool outstanding_ = false;
  bool entries_end_ = false;
  uint64_t sequence_ = 0;
  uint64_t journal_from_ = 0;
  uint64_t next_number_ = 0;
  uint32_t written_ = 0;  // entries
  uint32_t space_count_ = 0;
  page_buffer spaces_{space_pages};
  page_buffer pages_{pages_a_piece};
};

}  // namespace cubby::store
