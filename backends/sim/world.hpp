// The world that simulated backends share: its disk, its memory, its faults. It has no clock of its
// own: time is an argument of submit and reap. All its decisions follow from its seed and from the
// order of the calls; addresses never matter. One thread at a time.
#pragma once
#include <cubby/backend.h>

#include <array>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "sim/arena.hpp"
#include "sim/disk.hpp"
#include "sim/faults.hpp"
#include "sim/prng.hpp"

namespace cubby_sim {

/// One way for bytes: those of one I/O follow those of another, latencies overlap.
struct link_speed {
  uint64_t latency_ns = 0;
  uint64_t jitter_ns = 0;    // up to this much more, drawn anew for each I/O: makes order uncertain
  uint64_t bytes_per_s = 0;  // 0 = without limit
};

struct world_options {
  uint64_t seed = 1;
  link_speed file{80'000, 300'000, 2'000'000'000};
  link_speed copy{2'000, 20'000, 20'000'000'000};  // an emulated device brings its own speed
  fault_rates rates{};
  uint64_t late_ns = 50'000'000;
  uint64_t stuck_ns = ~uint64_t{0};  // an I/O that is stuck is released after this, ~0 = at heal
  uint32_t stuck_max = 4, sticky_max = 4;
  uint64_t arena_bytes = uint64_t{64} << 20;
  bool real_files = false;  // a path the disk does not know is looked for among the real files
};

/// Hears of every write and flush of the disk's files, for whoever decides what a power cut leaves.
class write_watcher {
 public:
  virtual ~write_watcher() = default;
  /// Its bytes are as they will be when it is over.
  virtual void write_begins(const std::string &path, const cubby_backend_io &io) = 0;
  /// A failed one has left nothing.
  virtual void write_ends(const std::string &path, const cubby_backend_io &io, bool failed) = 0;
  /// Gives a mark of what it covers, which flush_ends() gets.
  virtual uint64_t flush_begins(const std::string &path) = 0;
  virtual void flush_ends(const std::string &path, uint64_t mark, bool failed) = 0;
};

class world {
 public:
  explicit world(const world_options &options);
  world(const world &) = delete;
  world &operator=(const world &) = delete;

  // ---- the disk
  disk_file &add_file(const std::string &path, uint64_t bytes);
  /// The file of that path, or null.
  disk_file *find(const std::string &path);
  std::shared_ptr<disk_file> open(const std::string &path, bool create, int *error);
  /// As if another file had been renamed over the path: another inode. Open ones see the change.
  void replace(const std::string &path);
  void touch(const std::string &path, uint64_t now_ns);
  void resize(const std::string &path, uint64_t bytes);

  // ---- faults
  void set_rates(const fault_rates &rates) { options_.rates = rates; }
  /// The next `count` I/Os that touch this range fail so. An empty path means any; for memory and
  /// copies the path is empty and the range does not matter.
  void force(fault which, const std::string &path = {}, uint64_t offset_bytes = 0,
             uint64_t bytes = ~uint64_t{0}, uint64_t count = 1);
  /// Nothing fails any more until rates are set or faults forced again; what was stuck completes at
  /// the next reap; what was bad on the disk is good.
  void heal();
  /// Turns a bit of memory, as a cosmic ray would.
  void flip_memory(void *address, uint8_t mask);
  /// The same to a frame of this world that a file was read into lately; false when there is none.
  bool flip_resting_frame();
  /// A tier gives memory back.
  void release_memory(void *base, uint64_t bytes);
  /// May bytes of this range be wrong without an error? Asked before a silent fault by rate.
  std::function<bool(const std::string &path, uint64_t offset_bytes, uint64_t bytes)>
      silent_allowed;
  /// Called with every fault injected and the range of the file it hit (empty path: memory).
  std::function<void(fault which, const std::string &path, uint64_t offset_bytes, uint64_t bytes)>
      on_strike;
  /// May be none.
  write_watcher *writes = nullptr;
  uint64_t count(fault which) const { return counts_[static_cast<size_t>(which)]; }
  const std::array<uint64_t, fault_count> &counts() const { return counts_; }

  // ---- for the backends
  /// Should this I/O suffer this fault? Counts it when so.
  bool strikes(fault which, const std::string &path, uint64_t offset_bytes, uint64_t bytes);
  /// Turns one bit at rest among these bytes of the file when a flip strikes; a forced one keeps to
  /// the bytes it was forced upon, for what lies beside them is another's.
  bool rots(disk_file &file, uint64_t offset_bytes, uint64_t bytes);
  bool is_sticky(const std::string &path, uint64_t offset_bytes, uint64_t bytes) const;
  void make_sticky(const std::string &path, uint64_t offset_bytes, uint64_t bytes);
  void struck(fault which, const std::string &path, uint64_t offset_bytes, uint64_t bytes);
  void note_landed(void *memory, uint64_t bytes);
  void stuck_begins() { ++stuck_now_; }
  void stuck_ends() { stuck_now_ -= stuck_now_ == 0 ? 0 : 1; }
  uint64_t heal_count() const { return heal_count_; }
  const world_options &options() const { return options_; }
  generator &random() { return random_; }
  arena &memory() { return memory_; }

 private:
  struct forced_fault {
    fault which;
    std::string path;
    uint64_t offset_bytes, bytes, left;
  };
  struct range {
    std::string path;
    uint64_t offset_bytes, bytes;
  };

  world_options options_;
  generator random_;
  std::map<std::string, std::shared_ptr<disk_file>> files_;
  std::vector<forced_fault> forced_;
  std::vector<range> sticky_;
  std::array<uint64_t, fault_count> counts_{};
  struct landed_range {
    unsigned char *memory;
    uint64_t bytes;
  };
  std::vector<landed_range> landed_;  // the latest reads into the arena
  uint64_t heal_count_ = 0, inode_next_ = 1000;
  uint32_t stuck_now_ = 0;
  arena memory_;
};

}  // namespace cubby_sim
