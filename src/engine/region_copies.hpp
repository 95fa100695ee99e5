// Copies between frames of host memory and what callers have in a device's memory: where gets of
// blocks go, and where puts come from. What rests in a frame is verified before it is passed on; a
// frame stays pinned, and the caller's region in use, until its copies are over.
#pragma once

#include <span>
#include <vector>

#include "base/stable_list.hpp"
#include "engine/chunk_run.hpp"
#include "engine/fill_table.hpp"
#include "engine/region_uses.hpp"
#include "engine/residents.hpp"
#include "transfer/io_table.hpp"
#include "transfer/work_queue.hpp"

namespace cubby::engine {

/// Hears of the end of such a copy: `why` is NULL when all of it was made, or, in a stream's order,
/// when the stream waits for it.
class region_sink {
 public:
  virtual void copied(uint32_t request, uint32_t item, const error *why) = 0;

 protected:
  ~region_sink() = default;
};

class region_copies final : public transfer::io_owner, public transfer::job_owner {
 public:
  using memory_piece = transfer::memory_piece;
  struct wanted {
    uint32_t request = 0, item = 0;
    uint32_t device = no_tier;  // a tier of the device that the caller's memory is of
    locker_bank *bank = nullptr;
    uint32_t number = 0;
    uint32_t tier = no_tier;  // with the frame
    uint64_t frame = 0;
    bool out = false;       // from the device into the frame, which is the caller's own
    uint64_t at_bytes = 0;  // of the block: from where on
    std::span<const memory_piece> memory;  // the caller's; read before begin() returns
    transfer::urgency order;
    uint64_t mark = 0;  // of the device: it begins behind that
    bool in_stream = false;
    uint64_t stream = 0;  // waits for what is copied in
  };

  region_copies(engine_state &state, fill_table &table, residents &copies, transfer::io_table &ios,
                transfer::work_queue &work)
      : state_(state), table_(table), copies_(copies), ios_(ios), work_(work) {}

  /// The sink hears of the end, but not before this returns. The copy holds the regions of `in_use`
  /// by itself until then; the caller's uses stay, for whoever copies once more. After an error
  /// nothing has changed. May throw, and then nothing has, either.
  result<void> begin(const wanted &what, const region_uses &in_use, region_sink &sink);
  /// The next I/O of a copy whose turn it is.
  bool start_job(transfer::channel &path, uint32_t job);
  void io_done(uint32_t tag, const cubby_backend_done &done) override;
  void job_done(uint32_t tag) override;
  [[nodiscard]] bool idle() const { return free_.size() == list_.size(); }

 private:
  struct stretch {
    std::byte *host = nullptr, *device = nullptr;
    uint64_t bytes = 0;
  };
  struct copy {
    wanted what;
    region_sink *sink = nullptr;
    region_uses in_use;
    std::vector<stretch> runs;
    std::vector<chunk_run> parts;   // whose chunks are verified first
    std::vector<uint64_t> digests;  // of those
    uint32_t next = 0, in_flight = 0, jobs_left = 0;
    bool queued = false, failed = false;
    bool notified = false;  // the sink has been notified
    error failure{.status = CUBBY_OK, .text = {}};
  };

  uint32_t make_room();
  void plan(copy &c) const;
  void verify(uint32_t index);
  transfer::digest_job job_of(uint32_t index, size_t part, uint64_t *digests) const;
  void verified(uint32_t index);
  [[nodiscard]] bool digests_agree(const copy &c) const;
  void source_damaged(uint32_t index);
  void start(uint32_t index);
  void all_started(uint32_t index);
  void unqueue(uint32_t index);
  void end(uint32_t index);
  [[nodiscard]] error failed_copy(const copy &c, const cubby_backend_done &done) const;

  engine_state &state_;
  fill_table &table_;
  residents &copies_;
  transfer::io_table &ios_;
  transfer::work_queue &work_;
  base::stable_list<copy> list_;
  std::vector<uint32_t> free_;
};

}  // namespace cubby::engine
