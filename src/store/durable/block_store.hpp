// The durable store of KV blocks, without any I/O of its own: requests come in, operations go out,
// and their completions come back. So the pump, the simulator and the tools run the same code.
//
// A block is put in steps, each begun when the one before has completed: its bytes are written and,
// for CUBBY_KEEP_DURABLE, flushed; its record is written to the journal and, for durable, flushed;
// then it is acknowledged. One flush serves all that wait for it. CUBBY_KEEP_SESSION and _CACHE
// blocks have no record: they are gone when the store is opened. Pages are free again when the
// record that frees them is as safe as the block was. A flush that fails is never tried again: the
// store is read-only from then on, until a manifest has been written and flushed that leaves behind
// what may have been lost.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "store/durable/manifest.hpp"
#include "store/durable/recovery.hpp"

namespace cubby::store {

/// Bytes of a block that lie in a row.
struct block_piece {
  const void *at = nullptr;
  uint64_t bytes = 0;
};

struct put_request {
  uint32_t space = 0;
  std::string_view key;     // 1 to 64 bytes
  std::string_view parent;  // the key before; empty = a root, unless parent_digest says another
  /// Of a copy out of a store of the same id, which knows no more of the parent than this.
  uint64_t parent_digest = 0;
  uint8_t keep = CUBBY_KEEP_RESTART;
  /// Blocks of one group are waited for together, so they share records' writes and flushes: none
  /// of them is recorded while bytes of others are to be written that were put before that. 0: of
  /// none.
  uint64_t group = 0;
  uint8_t part_count = 0;
  uint32_t part_bytes[store_parts_max] = {};  // none is 0
  /// All parts one behind the other; stays as it is until the request has completed. Aligned to
  /// page_bytes where the driver writes past the page cache.
  const void *data = nullptr;
  /// Instead of `data`: the same in pieces, each but the last of whole pages. The list stays until
  /// the request has completed, too.
  const block_piece *pieces = nullptr;
  uint32_t piece_count = 0;
  /// Of the chunks of each part in order, with chunk_identity_of(); NULL: they are made here.
  const uint64_t *chunk_digests = nullptr;
  uint32_t chunk_digest_count = 0;
  uint64_t user = 0;  // handed back in the completion
};

struct store_operation {
  enum class kind : uint8_t { write, flush } what = kind::write;
  uint32_t file = 0;
  uint64_t offset_bytes = 0;  // of a write, a multiple of page_bytes, as `bytes` is
  const void *data = nullptr;
  uint64_t bytes = 0;
  uint64_t cookie = 0;
};

struct store_completion {
  uint64_t user = 0;
  uint32_t number = 0;      // of the block, or id of the space
  uint64_t generation = 0;  // of the block
  cubby_status status = CUBBY_OK;
  int32_t native = 0;  // errno
};

struct block_place {
  uint32_t file = 0;
  uint64_t offset_bytes = 0;
  uint64_t bytes = 0;   // of content; the rest of the last page is zero
  uint64_t digest = 0;  // digest_of_block() of the content
  uint64_t generation = 0;
};

struct store_statistics {
  uint64_t data_bytes = 0;  // all there is for blocks
  uint64_t free_bytes = 0;
  uint64_t block_count = 0;
  uint64_t journal_used_pages = 0;
  uint64_t checkpoints = 0;
  uint64_t flushes = 0;
  uint64_t requests_failed = 0;
  uint64_t memory_bytes = 0;  // of the index: entries, keys, maps of pages and numbers
};

class block_store {
 public:
  /// At most `requests_max` are accepted and not yet taken as completions. May throw.
  block_store(recovered_store &&from, uint32_t requests_max = 256);

  /// Accepts a block and says its number; its pages are taken. Keys are not looked at: after a lost
  /// erase a key may be there twice, and the higher generation is the later one.
  /// BUSY: too many requests. NO_SPACE: no run of pages, with needed_bytes, or no number; erase
  /// some. DEVICE: read-only. May throw, and then nothing has changed.
  result<uint32_t> put(const put_request &request);
  /// No more found from now on; its pages are free when that is safe. The caller sees to it that
  /// nobody reads it. STALE: no such block.
  result<void> erase(uint32_t number, uint64_t user);
  /// The space of just these, durable when it has completed; blocks may be put in it at once.
  result<uint32_t> add_space(std::string_view fingerprint, std::string_view domain, uint64_t user);
  /// BUSY while it has blocks.
  result<void> remove_space(uint32_t id, uint64_t user);
  /// A manifest, so that the next opening is quick; the store makes them by itself, too.
  void request_checkpoint() noexcept { checkpoint_wanted_ = true; }
  /// Does the journal go further than the last note of its end says?
  [[nodiscard]] bool note_due() const noexcept;
  /// A note of that, which nobody waits for; where it is due.
  void request_note() noexcept { note_wanted_ = note_due(); }
  /// The page with the note, for who ends and has nothing outstanding; nothing where none is due.
  std::optional<store_operation> last_note() noexcept;

  /// What to do next; false while there is nothing. In any order among those outstanding, and a
  /// flush covers the writes that had completed when it was taken here.
  bool next_operation(store_operation &out) noexcept;
  /// Exactly once each: 0, or the errno. A write is complete only when all of it is.
  void completed(uint64_t cookie, int native) noexcept;
  bool next_completion(store_completion &out) noexcept;
  /// Nothing outstanding, nothing to do.
  [[nodiscard]] bool is_idle() const noexcept;

  /// Of an acknowledged block, else nothing.
  [[nodiscard]] std::optional<block_place> locate(uint32_t number) const noexcept;
  [[nodiscard]] const block_table &blocks() const noexcept { return blocks_; }
  [[nodiscard]] const space_table &spaces() const noexcept { return spaces_; }
  [[nodiscard]] const layout &places() const noexcept { return places_; }
  [[nodiscard]] store_statistics statistics() const noexcept;
  /// The driver has found out why nothing can be written any more: the store is read-only.
  void stop(const error &why) noexcept;
  /// Tries to make a read-only store one that takes blocks again, and says whether that could
  /// begin: not while an operation is outstanding. failure() is NULL once it has succeeded.
  bool begin_restore() noexcept;
  [[nodiscard]] bool restoring() const noexcept { return restoring_; }
  /// Is what was found at opening on the device? Before, a durable block may be so in the page
  /// cache alone.
  [[nodiscard]] bool is_started() const noexcept { return started_; }
  /// Why the store is read-only; NULL while it is not.
  [[nodiscard]] const error *failure() const noexcept { return failure_ ? &*failure_ : nullptr; }

 private:
  enum class verb : uint8_t { put, erase, add_space, remove_space };
  enum class step : uint8_t {
    accepted,
    payload,
    payload_flush,
    record,
    writing,
    record_flush,
    done
  };
  struct pending {
    verb what = verb::put;
    step at = step::accepted;
    bool durable = false;
    bool recorded = false;    // has a record at all
    uint32_t writes = 0;      // outstanding
    uint32_t writes_max = 0;  // room in out_
    uint32_t subject = 0;     // number, or id of the space
    uint64_t burst = 0;       // of puts that were accepted between two operations
    uint64_t group = 0;
    uint64_t generation = 0;
    uint64_t user = 0;
    const void *data = nullptr;
    const block_piece *pieces = nullptr;
    uint32_t piece_count = 0;
    cubby_status status = CUBBY_OK;
    int32_t native = 0;
  };
  struct flush_line {
    bool outstanding = false;
    bool checkpoint_waits = false, checkpoint_covered = false;
    uint64_t journal_before = 0;
    std::vector<uint32_t> waiting, covered;  // requests
  };

  // requests.cpp
  result<uint32_t> free_request();
  [[nodiscard]] error read_only() const;
  result<void> check(const put_request &request) const;
  static result<void> check_pieces(const put_request &request, uint64_t block_bytes);
  std::optional<uint32_t> take_pages(uint64_t pages, uint32_t &file) noexcept;
  void start(uint32_t index) noexcept;

  // block_store.cpp
  void begin_restoring_manifest() noexcept;
  void end_restore() noexcept;
  void give_up_restore() noexcept;
  [[nodiscard]] step step_after(const pending &one) const noexcept;
  void advance(uint32_t index) noexcept;
  void write_payload(uint32_t index) noexcept;
  void write_piece(uint32_t index, const block_piece &piece, uint64_t offset_bytes) noexcept;
  void finish(uint32_t index) noexcept;
  void free_block(uint32_t number) noexcept;
  void fail_request(uint32_t index, int native) noexcept;
  void turn_read_only(const char *what, int native) noexcept;
  void fail_all(int native) noexcept;
  bool next_start(store_operation &out) noexcept;
  bool next_payload(store_operation &out) noexcept;
  [[nodiscard]] bool all_await_bytes(const std::vector<uint32_t> &waiting) const noexcept;
  bool next_journal_write(store_operation &out) noexcept;
  void add_record(uint32_t index) noexcept;
  bool next_flush(store_operation &out) noexcept;
  bool next_checkpoint(store_operation &out) noexcept;
  bool next_note(store_operation &out) noexcept;
  void write_note(store_operation &out) noexcept;
  void payload_written(uint32_t index, int native) noexcept;
  void journal_written(int native) noexcept;
  void flushed(uint32_t file, int native) noexcept;
  void checkpoint_step_done(int native) noexcept;
  void start_done(uint32_t index, int native) noexcept;

  layout places_;
  block_table blocks_;
  space_table spaces_;
  std::vector<extent_map> extents_;
  journal journal_;
  checkpoint checkpoint_;
  uint64_t generation_;
  uint64_t burst_ = 1;

  std::vector<pending> requests_;
  std::vector<uint32_t> free_;        // requests
  std::vector<uint32_t> to_record_;   // requests whose records wait for a page, in order
  std::vector<uint32_t> in_journal_;  // requests whose records are being written
  std::vector<uint32_t> done_;        // requests that have completed, in order
  std::vector<flush_line> lines_;     // one a file
  std::vector<store_operation> out_;  // writes that wait to be taken
  size_t out_taken_ = 0;
  size_t out_room_ = 0;     // writes that the accepted requests may have
  page_buffer last_pages_;  // one a request: its bytes' tail, and zeros

  std::vector<recovered_store::bad_superblock> to_repair_;
  page_buffer repair_page_{1};
  std::vector<recovered_store::unproven_run> unproven_;
  // First superblocks are repaired, then unproven pages are written again, then every file is
  // flushed.
  uint32_t start_step_ = 0;
  bool start_outstanding_ = false, started_ = false;

  const uint64_t boot_;
  page_buffer note_page_{1};
  uint64_t noted_written_ = 0, noted_flushed_ = 0;
  bool note_wanted_ = false, note_outstanding_ = false;

  bool checkpoint_wanted_ = false;
  bool restoring_ = false;
  uint64_t checkpoints_ = 0, flushes_ = 0, requests_failed_ = 0, outstanding_ = 0;
  std::optional<error> failure_;
};

}  // namespace cubby::store
