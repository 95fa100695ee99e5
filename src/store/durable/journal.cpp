#include "store/durable/journal.hpp"

#include <algorithm>
#include <cstring>

#include "base/assert.hpp"
#include "base/digest.hpp"

namespace cubby::store {
namespace {

constexpr size_t checked_bytes = sizeof(journal_record) - sizeof(journal_record::checksum);

uint64_t checksum_of(const journal_record &record, uint64_t store_id, uint64_t number,
                     uint32_t slot) noexcept {
  return base::digest64(&record.flushed_page, checked_bytes,
                        seed_of(store_id, structure::record, number, slot));
}

}  // namespace

slot_content decode_record(uint64_t store_id, uint64_t number, uint32_t slot, const void *page,
                           journal_record &out) noexcept {
  memcpy(&out, static_cast<const unsigned char *>(page) + slot * sizeof out, sizeof out);
  if (out.checksum == checksum_of(out, store_id, number, slot)) {
    const bool sound = out.slot == slot && out.count > slot && out.count <= records_per_page;
    return sound ? slot_content::intact : slot_content::damaged;
  }
  const journal_record nothing = {};
  return memcmp(&out, &nothing, sizeof out) == 0 ? slot_content::empty : slot_content::damaged;
}

void encode_checksum(uint64_t store_id, uint64_t number, uint32_t slot, void *page) noexcept {
  unsigned char *at = static_cast<unsigned char *>(page) + slot * sizeof(journal_record);
  journal_record record;
  memcpy(&record, at, sizeof record);
  record.checksum = checksum_of(record, store_id, number, slot);
  memcpy(at, &record, sizeof record);
}

void encode_made(uint64_t store_id, void *page) noexcept {
  journal_record record = {};
  record.kind = static_cast<uint8_t>(record_kind::made);
  record.count = 1;
  memcpy(page, &record, sizeof record);
  encode_checksum(store_id, 0, 0, page);
}

bool is_made_alone(uint64_t store_id, const void *page) noexcept {
  const auto *const at = static_cast<const unsigned char *>(page);
  journal_record record;
  return decode_record(store_id, 0, 0, page, record) == slot_content::intact &&
         record.kind == static_cast<uint8_t>(record_kind::made) &&
         std::all_of(at + sizeof record, at + page_bytes, [](auto one) { return one == 0; });
}

journal::journal(const layout &places, const journal_position &position)
    : places_(places), position_(position), written_(position.next) {}

uint32_t journal::room() const noexcept {
  if (sealed_) return 0;
  const uint64_t ring = places_.shape().journal_pages;
  const uint64_t pages =
      std::min({uint64_t{batch_pages}, ring - used_pages(), ring - position_.next % ring});
  return static_cast<uint32_t>(pages) * records_per_page - records_;
}

void journal::add(record_kind kind, const void *body, size_t body_bytes) noexcept {
  CUBBY_ASSERT(room() > 0 && body_bytes <= sizeof(block_body));
  const uint32_t index = records_++;
  if (index % records_per_page == 0) pages_.clear(index / records_per_page);
  journal_record record = {};
  record.kind = static_cast<uint8_t>(kind);
  record.slot = static_cast<uint8_t>(index % records_per_page);
  memcpy(record.body, body, body_bytes);
  memcpy(pages_.at(index / records_per_page) + record.slot * sizeof record, &record, sizeof record);
}

journal::batch journal::seal() noexcept {
  CUBBY_ASSERT(records_ > 0 && !sealed_);
  const uint32_t pages = (records_ + records_per_page - 1) / records_per_page;
  for (uint32_t i = 0; i < records_; i++) {
    const uint32_t page = i / records_per_page;
    unsigned char *at = pages_.at(page) + i % records_per_page * sizeof(journal_record);
    journal_record record;
    memcpy(&record, at, sizeof record);
    record.flushed_page = position_.flushed;
    record.manifest = position_.manifest;
    record.count =
        static_cast<uint8_t>(std::min(records_per_page, records_ - page * records_per_page));
    memcpy(at, &record, sizeof record);
    encode_checksum(places_.shape().store_id, position_.next + page, record.slot, pages_.at(page));
  }
  const batch made = {places_.journal_page(position_.next) * page_bytes, pages_.at(0),
                      uint64_t{pages} * page_bytes};
  position_.next += pages;
  records_ = 0;
  sealed_ = true;
  return made;
}

void journal::written() noexcept {
  CUBBY_ASSERT(sealed_);
  sealed_ = false;
  written_ = position_.next;
}

void journal::flushed(uint64_t before) noexcept {
  position_.flushed = std::max(position_.flushed, before);
}

void journal::checkpointed(uint64_t from, uint64_t manifest) noexcept {
  CUBBY_ASSERT(from >= position_.from && from <= position_.next);
  position_.from = from;
  position_.manifest = manifest;
}

}  // namespace cubby::store
