// The journal's ring: where the next page goes, and what a page holds. A page is written once a lap
// and never again, so that no write can damage a record that was acknowledged.
#pragma once

#include <cstdint>

#include "store/durable/format.hpp"
#include "store/durable/pages.hpp"

namespace cubby::store {

/// Pages are numbered for ever; page n lies in the ring at n modulo its size.
struct journal_position {
  uint64_t from = 0;      // replay begins here; pages before are free
  uint64_t next = 0;      // the next to be written
  uint64_t flushed = 0;   // pages before this one have been flushed
  uint64_t manifest = 0;  // sequence of the newest complete manifest
};

enum class slot_content { empty, intact, damaged };

/// A record of slot `slot` of page `number`, read back.
slot_content decode_record(uint64_t store_id, uint64_t number, uint32_t slot, const void *page,
                           journal_record &out) noexcept;

/// Puts the checksum of a record in its place right.
void encode_checksum(uint64_t store_id, uint64_t number, uint32_t slot, void *page) noexcept;

/// The first page of a new store's journal, into a zeroed page: a journal without any record has
/// been lost.
void encode_made(uint64_t store_id, void *page) noexcept;
/// Is that all the page says?
bool is_made_alone(uint64_t store_id, const void *page) noexcept;

class journal {
 public:
  static constexpr uint32_t batch_pages = 16;

  /// May throw.
  journal(const layout &places, const journal_position &position);

  /// How many records the next batch has room for; 0 while the ring is full.
  [[nodiscard]] uint32_t room() const noexcept;
  /// Into the batch, which has room.
  void add(record_kind kind, const void *body, size_t body_bytes) noexcept;

  struct batch {
    uint64_t offset_bytes = 0;
    const void *data = nullptr;
    uint64_t bytes = 0;
  };
  /// Ends the batch; its bytes stay as they are until written().
  batch seal() noexcept;
  [[nodiscard]] bool writing() const noexcept { return sealed_; }
  void written() noexcept;

  /// What a flush that begins now will have covered, to be passed to flushed() after it.
  [[nodiscard]] uint64_t written_before() const noexcept { return written_; }
  void flushed(uint64_t before) noexcept;
  void checkpointed(uint64_t from, uint64_t manifest) noexcept;

  [[nodiscard]] const journal_position &position() const noexcept { return position_; }
  [[nodiscard]] uint64_t used_pages() const noexcept { return position_.next - position_.from; }

 private:
  layout places_;
  journal_position position_;
  uint64_t written_;
  page_buffer pages_{batch_pages};
  uint32_t records_ = 0;
  bool sealed_ = false;
};

}  // namespace cubby::store
