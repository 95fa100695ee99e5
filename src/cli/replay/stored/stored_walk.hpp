// Plays the requests of a trace with real bytes: what is there is read and checked, what is not is
// put. Blocks are used one by one in the order in which the simulation uses them.
#pragma once

#include "cli/replay/stored/stored_cache.hpp"

namespace cubby_cli::replay {

struct stored_run {
  uint64_t found_at_open = 0;  // blocks of the trace that the store had
  uint64_t hits = 0;           // leading blocks of requests that were in memory
  uint64_t usable = 0;         // the same in memory or on disk
  uint64_t put_count = 0;
  uint64_t put_again_count = 0;  // of those, blocks that had been there and were given up
  checked_blocks checked;
  uint64_t read_bytes = 0, evictions = 0;  // from disk into memory / out of memory
  double seconds = 0;
  uint64_t memory_count = 0, disk_count = 0;        // blocks got from there
  uint64_t memory_ns = 0, disk_ns = 0, put_ns = 0;  // the library's calls for them
  uint64_t starved_ns = 0;                          // could run, and others had the processors
};

class stored_walk {
 public:
  /// `head_first`: CUBBY_POLICY_HEAD_FIRST.
  stored_walk(const request_schedule &of, stored_cache &cache, bool head_first)
      : of_(of), cache_(cache), head_first_(head_first) {}

  /// Looks what is there before the first request.
  done begin();
  done play(uint64_t request);
  /// Adds what the tiers have counted.
  outcome<stored_run> finish();

 private:
  done use(std::span<const uint32_t> blocks, size_t i);

  const request_schedule &of_;
  stored_cache &cache_;
  const bool head_first_;
  stored_run found_;
  std::vector<bool> was_there_;
  std::vector<uint8_t> states_;
};

}  // namespace cubby_cli::replay
