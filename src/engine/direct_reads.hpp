// Gets of whole stored blocks past the tiers of memory (CUBBY_BYPASS): read into the caller's
// memory where that lies on pages, else through a small buffer. This is the fast path alone. What
// does not go well is left to a fill, which reads it again and says what is wrong.
#pragma once

#include <vector>

#include "base/stable_list.hpp"
#include "engine/chunk_run.hpp"
#include "engine/delivery_sink.hpp"
#include "engine/fill_table.hpp"
#include "engine/request.hpp"
#include "engine/stored_blocks.hpp"
#include "transfer/io_table.hpp"
#include "transfer/work_queue.hpp"

namespace cubby::engine {

class direct_reads final : public transfer::io_owner, public transfer::job_owner {
 public:
  /// A block that is on disk alone, for one item of a get.
  struct wanted {
    uint32_t request = 0, item = 0;
    locker_bank *bank = nullptr;
    uint32_t number = 0;
    const get_target *target = nullptr;  // stays valid until the sink hears of it
    transfer::urgency order;
  };

  direct_reads(engine_state &state, fill_table &table, stored_blocks &stored,
               transfer::io_table &ios, transfer::work_queue &work)
      : state_(state), table_(table), stored_(stored), ios_(ios), work_(work) {}

  /// The read's number; no_index: the block has to be read through a tier. Until the sink hears of
  /// it the block stays where it is stored.
  uint32_t begin(const wanted &what, delivery_sink &sink);
  /// Nobody wants it any more. False: it is being read, and the sink will hear of it.
  bool withdraw(uint32_t index);
  /// The next I/O of a block whose turn it is. False when it has to wait for a buffer.
  bool start_job(transfer::channel &path, uint32_t job);
  void io_done(uint32_t tag, const cubby_backend_done &done) override;
  void job_done(uint32_t tag) override;

 private:
  struct read {
    wanted what;
    delivery_sink *sink = nullptr;
    stored_blocks::place from;
    bool in_place = false;  // straight into the caller's memory
    bool failed = false, queued = false;
    uint32_t next_part = 0, next_chunk = 0, pieces_in_flight = 0;
    uint32_t digest_count = 0;      // of the chunks that were begun
    std::vector<uint64_t> digests;  // of all chunks, part after part
  };
  /// Consecutive chunks of one part.
  struct piece {
    uint32_t read = no_index;
    chunk_run run;
    uint32_t first_digest = 0;
    std::byte *buffer = nullptr, *landing = nullptr;
    std::vector<transfer::memory_piece> into;  // where they go from a buffer
  };

  [[nodiscard]] bool is_eligible(const wanted &what) const;
  void make_room();
  bool cut(uint32_t index, piece &p);
  void start_io(uint32_t piece_index);
  bool verify(uint32_t piece_index);
  void end_piece(uint32_t piece_index);
  void unqueue(uint32_t index);
  void release(uint32_t index);
  void end(uint32_t index);
  bool digests_agree(read &of);

  engine_state &state_;
  fill_table &table_;
  stored_blocks &stored_;
  transfer::io_table &ios_;
  transfer::work_queue &work_;
  base::stable_list<read> reads_;
  base::stable_list<piece> pieces_;
  std::vector<uint32_t> free_reads_, free_pieces_;
};

}  // namespace cubby::engine
