// Blocks out of host memory through the library: gets of KV blocks that are there.
#pragma once

#include "cli/bench/kv_bank.hpp"
#include "cli/characterize/measured.hpp"

namespace cubby_cli::characterize {

class library_memory {
 public:
  library_memory(uint64_t block_bytes, uint64_t set_bytes);
  /// Puts all blocks.
  done open();
  /// One after the other, at random, by one thread.
  outcome<figures> run(double seconds, energy_counters &energy);

 private:
  const uint64_t block_bytes_;
  const uint32_t count_;
  const uint32_t slots_;
  const bench::huge_buffer memory_;  // of the caller, slots_ blocks
  bench::kv_bank bank_;
};

}  // namespace cubby_cli::characterize
