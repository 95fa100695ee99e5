// Moves the bytes of fills: cut into pieces, read or copied one I/O at a time, verified chunk by
// chunk as they land.
#pragma once

#include <vector>

#include "base/stable_list.hpp"
#include "engine/chunk_run.hpp"
#include "engine/fills.hpp"
#include "engine/stored_blocks.hpp"
#include "transfer/io_table.hpp"
#include "transfer/work_queue.hpp"

namespace cubby::engine {

class fill_io final : public transfer::io_owner, public transfer::job_owner {
 public:
  fill_io(engine_state &state, fill_table &table, fills &life, source_files &files,
          stored_blocks &stored, transfer::io_table &ios, transfer::work_queue &work)
      : state_(state),
        table_(table),
        fills_(life),
        files_(files),
        stored_(stored),
        ios_(ios),
        work_(work) {}

  /// Starts the most urgent job of a channel's queue: the next piece of a fill, or the copy of a
  /// piece that was read. False when it has to wait (for staging memory).
  bool start_job(transfer::channel &path, uint32_t job);
  /// Once the device has every copy of a fill, whoever works behind them need not wait for them:
  /// those that were started since the last call land together.
  void land_submitted();
  void io_done(uint32_t tag, const cubby_backend_done &done) override;
  void job_done(uint32_t tag) override;

  /// Bytes that were delivered without a digest to hold them against.
  [[nodiscard]] uint64_t unverified_bytes() const { return unverified_bytes_; }

 private:
  enum class stage : uint8_t {
    unused,
    reading,
    verifying_read,
    verifying_source,  // before it is copied to another tier
    copying_in,
    copying_out,
    verifying_copy  // that came out of a device
  };

  /// Consecutive chunks of one part.
  struct piece_state {
    stage at = stage::unused;
    fill *of = nullptr;
    uint32_t from = no_tier;       // the fill's; of a bank with copies, any tier that has its files
    std::byte *landing = nullptr;  // where the wanted bytes come to lie
    std::byte *staging = nullptr;  // the pool's, when `landing` is in it
    std::byte *target = nullptr;   // where a copy takes them; nullptr: they are in place
    const std::byte *out_of = nullptr;  // of a device, from where they come to `landing` first
    bool reread = false;
    bool counted = false;           // in fill::pieces_copying
    bool verified = false;          // the source of a copy
    uint64_t bad_offset_bytes = 0;  // of the chunk that was not as its digest says
  };
  struct piece : piece_state {
    uint32_t index = no_index;  // its place in the list
    chunk_run run;
    transfer::urgency order;
    std::vector<uint64_t> digests;  // of its chunks, while they are made; its memory is used again
  };

  bool issue(uint32_t index);
  bool place(const fill &f, piece &p);
  bool make_room_for_piece(uint32_t chunk_count);
  bool room_for_io(transfer::channel &path) noexcept;
  piece &new_piece();
  void free_piece(piece &p);
  transfer::staging_pool *pool_of(const fill &f);
  void start_read(piece &p);
  void start_copy(piece &p);
  [[nodiscard]] bool verifies() const;
  transfer::digest_job job_of(piece &p, const std::byte *bytes);
  bool verify_aside(piece &p, const std::byte *bytes, stage during);
  bool verified(piece &p, const std::byte *bytes);
  bool digests_agree(piece &p);
  void io_failed(piece &p, const cubby_backend_done &done);
  void copy_started(fill &f);
  void note_failed_read(const piece &p, bool file_changed);
  void note_read(const piece &p);
  void count_bytes(const piece &p);
  void piece_read(piece &p);
  void read_verified(piece &p, bool good);
  void source_damaged(piece &p);
  void copy_verified(piece &p, bool good);
  void end_piece(piece &p);
  [[nodiscard]] uint32_t tier_of(const piece &p) const;
  [[nodiscard]] const char *path_of(const fill &f, const piece &p) const;
  error damaged_copy(const piece &p, tier_slot &slot) const;
  error damaged_file(const piece &p) const;
  error failed_io(const piece &p, const cubby_backend_done &done) const;

  engine_state &state_;
  fill_table &table_;
  fills &fills_;
  source_files &files_;
  stored_blocks &stored_;
  transfer::io_table &ios_;
  transfer::work_queue &work_;
  base::stable_list<piece> pieces_;
  std::vector<uint32_t> free_;
  std::vector<uint32_t> submitted_;  // fills for land_submitted(); has room for one a piece
  uint64_t unverified_bytes_ = 0;
};

}  // namespace cubby::engine
