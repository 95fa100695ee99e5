// A runtime that keeps the blocks of a trace in memory and in a store, and knows what bytes each of
// them must have.
#pragma once

#include <span>

#include "cli/bench/kv_bank.hpp"
#include "cli/replay/stored/plan.hpp"

namespace cubby_cli::replay {

/// What was read, and held against what it must be.
struct checked_blocks {
  uint64_t count = 0, wrong_bytes = 0;
  uint64_t damaged_count = 0;  // not delivered: their bytes were not those that were put
  uint64_t took_ns = 0;        // to check, and to make what is put

  [[nodiscard]] bool good() const { return wrong_bytes == 0 && damaged_count == 0; }
};

class stored_cache {
 public:
  stored_cache(const stored_plan &plan, uint64_t seed);

  /// `policy` is what a runtime knows it by. Advanced by this thread.
  done open(const std::string &policy, uint64_t host_bytes);

  /// CUBBY_STATE_* of each of these blocks, from the root of a chain on; how many leading ones can
  /// be had.
  outcome<uint32_t> match(std::span<const uint32_t> chain, std::vector<uint8_t> &states);
  /// All blocks of the trace that are there.
  outcome<std::vector<uint32_t>> find_all();
  /// `flags`: of cubby_how. False: it is not there.
  outcome<bool> get(uint32_t block, uint32_t flags, checked_blocks &found);
  /// The bytes of a block, for the put that follows.
  void make(uint32_t block, checked_blocks &found);
  /// `parent` may be none.
  done put_made(uint32_t block, const uint32_t *parent, uint8_t keep = CUBBY_KEEP_RESTART);

  [[nodiscard]] outcome<cubby_tier_stats> host_stats() const { return bank_.host_stats(); }
  [[nodiscard]] outcome<cubby_tier_stats> disk_stats() const { return bank_.disk_stats(); }

 private:
  [[nodiscard]] uint64_t content_of(uint32_t block) const { return plan_.series + block; }
  void check(uint32_t block, checked_blocks &found);
  done advance();

  const stored_plan plan_;
  const uint64_t seed_;
  bench::kv_bank bank_;
  std::vector<bench::kv_key> names_;
  std::vector<cubby_key> keys_;
  std::vector<char> bytes_, wanted_;  // of the block at hand
};

}  // namespace cubby_cli::replay
