#include "store/durable/manifest.hpp"

#include <cstring>

#include "base/assert.hpp"
#include "base/digest.hpp"

namespace cubby::store {
namespace {

uint64_t checksum_of(const manifest_head &head, uint64_t store_id) noexcept {
  return base::digest64(&head.sequence, sizeof head - sizeof head.checksum,
                        seed_of(store_id, structure::head, head.sequence));
}

template <class Slot>
Slot slot_of(const void *page, uint64_t index) noexcept {
  constexpr uint64_t per_page = page_bytes / sizeof(Slot);
  Slot slot;
  memcpy(&slot, static_cast<const unsigned char *>(page) + index % per_page * sizeof slot,
         sizeof slot);
  return slot;
}

template <class Slot>
void put_slot(const Slot &slot, void *page, uint64_t index) noexcept {
  constexpr uint64_t per_page = page_bytes / sizeof(Slot);
  memcpy(static_cast<unsigned char *>(page) + index % per_page * sizeof slot, &slot, sizeof slot);
}

template <class Body>
uint64_t checksum_of(const Body &body, structure what, uint64_t store_id, uint64_t sequence,
                     uint64_t index) noexcept {
  return base::digest64(&body, sizeof body, seed_of(store_id, what, sequence, index));
}

/// Is the block there after a restart, whichever records of later pages are lost?
bool is_recorded(const block_entry &entry) noexcept {
  if (entry.keep < CUBBY_KEEP_RESTART) return false;
  return entry.state == block_state::live || entry.state == block_state::recording ||
         entry.state == block_state::erasing;
}

}  // namespace

void encode_head(uint64_t store_id, manifest_head head, void *page) noexcept {
  head.checksum = checksum_of(head, store_id);
  memcpy(page, &head, sizeof head);
}

bool decode_head(uint64_t store_id, const void *page, manifest_head &out) noexcept {
  memcpy(&out, page, sizeof out);
  return out.checksum == checksum_of(out, store_id) && out.sequence != 0;
}

void encode_entry(uint64_t store_id, uint64_t sequence, uint64_t index, const block_body &body,
                  void *page) noexcept {
  put_slot(manifest_entry{checksum_of(body, structure::entry, store_id, sequence, index), body},
           page, index);
}

bool decode_entry(uint64_t store_id, uint64_t sequence, uint64_t index, const void *page,
                  block_body &out) noexcept {
  const auto slot = slot_of<manifest_entry>(page, index);
  out = slot.body;
  return slot.checksum == checksum_of(out, structure::entry, store_id, sequence, index);
}

uint32_t encode_spaces(uint64_t store_id, uint64_t sequence, const space_table &spaces,
                       const page_buffer &pages) noexcept {
  uint32_t count = 0;
  for (const space_table::entry &one : spaces.slots()) {
    if (one.body.id == 0 || one.removing) continue;
    put_slot(manifest_space{checksum_of(one.body, structure::space, store_id, sequence, count),
                            one.body},
             pages.at(count / spaces_per_page), count);
    ++count;
  }
  return count;
}

bool decode_space(uint64_t store_id, uint64_t sequence, uint32_t index, const void *page,
                  space_body &out) noexcept {
  const auto slot = slot_of<manifest_space>(page, index);
  out = slot.body;
  return slot.checksum == checksum_of(out, structure::space, store_id, sequence, index);
}

void checkpoint::begin(uint64_t sequence, uint64_t journal_from, bool clear_first) noexcept {
  CUBBY_ASSERT(!active());
  stage_ = clear_first ? stage::clear_head : stage::spaces;
  sequence_ = sequence;
  journal_from_ = journal_from;
  next_number_ = 0;
  written_ = 0;
}

void checkpoint::cancel() noexcept {
  stage_ = stage::idle;
  outstanding_ = false;
}

checkpoint::piece checkpoint::write_at(uint64_t page_of_slot, uint64_t pages) const noexcept {
  const uint64_t page = places_.slot_page(sequence_) + page_of_slot;
  return {piece::kind::write, page * page_bytes, pages_.at(0), pages * page_bytes};
}

checkpoint::piece checkpoint::write_spaces(const space_table &spaces,
                                           uint64_t page_of_slot) noexcept {
  // The second copy is of the same moment as the first, for the head counts but one.
  if (stage_ == stage::spaces) {
    for (uint32_t i = 0; i < space_pages; i++) spaces_.clear(i);
    space_count_ = encode_spaces(places_.shape().store_id, sequence_, spaces, spaces_);
  }
  piece made = write_at(page_of_slot, space_pages);
  made.data = spaces_.at(0);
  return made;
}

/// As many whole pages of entries as a piece holds; the last page may have room left.
uint32_t checkpoint::fill_entries(const block_table &blocks) noexcept {
  uint32_t count = 0;
  for (; next_number_ < blocks.end() && count < pages_a_piece * entries_per_page; next_number_++) {
    const auto number = static_cast<uint32_t>(next_number_);
    const block_entry *entry = blocks.find(number);
    if (!entry || !is_recorded(*entry)) continue;
    if (count % entries_per_page == 0) pages_.clear(count / entries_per_page);
    encode_entry(places_.shape().store_id, sequence_, written_ + count, blocks.body_of(number),
                 pages_.at(count / entries_per_page));
    ++count;
  }
  return count;
}

checkpoint::piece checkpoint::write_head(const space_table &spaces, uint64_t generation,
                                         uint64_t page) noexcept {
  pages_.clear(0);
  manifest_head head = {};
  head.sequence = sequence_;
  head.journal_from = journal_from_;
  head.generation = generation;
  head.block_count = written_;
  head.space_count = space_count_;
  head.space_generation = spaces.generation();
  encode_head(places_.shape().store_id, head, pages_.at(0));
  return write_at(page, 1);
}

checkpoint::piece checkpoint::next(const block_table &blocks, const space_table &spaces,
                                   uint64_t generation) noexcept {
  if (!active() || outstanding_) return {};
  outstanding_ = true;
  if (stage_ == stage::spaces) return write_spaces(spaces, slot_spaces_at);
  if (stage_ == stage::entries) {
    const uint32_t before = written_;
    const uint32_t count = fill_entries(blocks);
    written_ += count;
    // A page that is not full is the last, even if the table has grown by the next piece: what is
    // new since then is in the journal.
    entries_end_ = count < pages_a_piece * entries_per_page;
    if (count > 0) return write_at(slot_entries_at + before / entries_per_page, entry_pages(count));
    stage_ = stage::spaces_again;
  }
  const uint64_t end = places_.slot_pages();
  switch (stage_) {
    case stage::clear_head:
    case stage::clear_head_again:
      pages_.clear(0);
      return write_at(stage_ == stage::clear_head ? 0 : end - 1, 1);
    case stage::spaces_again:
      return write_spaces(spaces, end - 1 - space_pages);
    case stage::head:
      return write_head(spaces, generation, 0);
    case stage::head_again:
      return write_head(spaces, generation, end - 1);
    default:
      return {piece::kind::flush, 0, nullptr, 0};
  }
}

bool checkpoint::advance() noexcept {
  CUBBY_ASSERT(outstanding_);
  outstanding_ = false;
  if (stage_ == stage::entries && !entries_end_) return false;
  stage_ = stage_ == stage::head_flush ? stage::idle
                                       : static_cast<stage>(static_cast<uint8_t>(stage_) + 1);
  return stage_ == stage::idle;
}

}  // namespace cubby::store
