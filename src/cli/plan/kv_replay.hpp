// How long a trace of KV blocks takes through memory and a store, block by block as `cubby replay
// --io --store` plays it, by the curves of a profile. Pure.
#pragma once

#include <string>

#include "cli/profile/profile.hpp"

namespace cubby_cli::plan {

/// What becomes of the uses of a trace's blocks.
struct kv_counts {
  double memory = 0, disk = 0, put = 0;  // found there, found there, found nowhere
  double block_bytes = 0;

  [[nodiscard]] double uses() const { return memory + disk + put; }
};

struct kv_times {
  double memory_s = 0, disk_s = 0, put_s = 0;
  double own_s = 0;  // of whoever uses the blocks

  [[nodiscard]] double all_s() const { return memory_s + disk_s + put_s + own_s; }
  /// Of all time, what the disk is waited for.
  [[nodiscard]] double stall_share() const { return all_s() > 0 ? (disk_s + put_s) / all_s() : 0; }
};

/// What one block of such a size takes by itself: the mean of the curve at depth 1, between the
/// sizes that were measured along a straight line; trouble where it was not measured.
outcome<double> lone_block_s(const profile::tier &of, const std::string &op,
                             const std::string &path, double block_bytes);

/// `own_s`: for each use. A put waits for its block's write and then for a page of the journal, and
/// is copied to memory.
outcome<kv_times> time_kv(const profile::machine_profile &machine, const std::string &file,
                          const kv_counts &counts, double own_s);

}  // namespace cubby_cli::plan
