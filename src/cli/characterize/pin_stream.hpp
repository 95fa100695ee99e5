// Pins of lockers that are not in a tier, so many at once, each unpinned as soon as it is there.
#pragma once

#include <vector>

#include "cli/bench/cubby_blocks.hpp"
#include "cli/characterize/measured.hpp"

namespace cubby_cli::characterize {

/// A bank's lockers of one size, and the tier they are pinned in.
struct pin_place {
  cubby_handle *rt = nullptr;
  cubby_bank bank = 0;
  cubby_tier tier = 0;
  uint64_t block_bytes = 0;
  uint32_t count = 0;  // of lockers; twice the depth at least
};

class pin_stream {
 public:
  pin_stream() = default;
  ~pin_stream() { cubby_cq_remove(queue_); }
  pin_stream(const pin_stream &) = delete;
  pin_stream &operator=(const pin_stream &) = delete;

  done open(const pin_place &of, uint32_t depth_max);
  outcome<figures> run(uint32_t depth, double seconds, energy_source &energy);

 private:
  struct slot {
    cubby_pins pins = 0;
    const void *address = nullptr;
    uint64_t start_ns = 0;
  };
  done start(uint32_t block);
  done take(latencies &took, meter &watch);

  pin_place of_;
  cubby_cq *queue_ = nullptr;
  std::vector<slot> slots_;
  std::vector<uint32_t> free_, order_;
  size_t next_ = 0;  // in order_
};

/// Reads of a file through the library: verified, into host memory.
class library_reads {
 public:
  /// Blocks of one size of the file at `path`, up to `depth_max` at once.
  done open(const std::string &path, uint64_t file_bytes, uint64_t block_bytes, uint32_t depth_max);
  outcome<figures> run(uint32_t depth, double seconds, energy_source &energy) {
    return pins_.run(depth, seconds, energy);
  }

 private:
  bench::cubby_blocks blocks_;
  pin_stream pins_;  // ends before its runtime
};

}  // namespace cubby_cli::characterize
