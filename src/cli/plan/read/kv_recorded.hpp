// A recording of KV blocks, counted by where a policy would have each found.
#pragma once

#include "cli/plan/kv_replay.hpp"
#include "cli/plan/read/words.hpp"

namespace cubby_cli::plan {

/// What `cubby plan --kv-trace` was asked for.
struct kv_question {
  std::string machine_name, trace, policy, file;  // file: the tier's name
  profile::machine_profile machine;
  kv_counts counts;
  uint64_t memory_blocks = 0;
  double own_s = 0;
};
outcome<kv_question> read_kv_question(const plan_words &words);

}  // namespace cubby_cli::plan
