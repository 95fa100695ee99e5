// A trace through one policy at one capacity. How hits are counted, so that figures can be
// compared: experts are found or not when their visit begins, and what is used in a visit is pinned
// until it ends; of KV requests the leading run of resident blocks counts, then all blocks are
// touched, the last first. Cold misses count.
#pragma once

#include <cubby/policy.h>

#include <functional>

#include "cli/replay/schedule.hpp"

namespace cubby_cli::replay {

struct simulation {
  const cubby_policy_ops *policy = nullptr;
  uint32_t capacity = 0;  // lockers
  uint64_t seed = 0;
  std::function<void(double)> progress;  // the part done; may be empty
};

struct simulated {
  uint64_t accesses = 0, hits = 0;
  uint64_t visits = 0;  // layer visits, or blocks touched
  double ns_per_visit = 0;
  uint64_t state_bytes = 0;
  std::string warning;  // what the policy has to say
};

outcome<simulated> simulate_experts(const expert_schedule &of, const simulation &how);

/// For each entry of kv_trace::blocks, the number of the request that uses the block next; ~0 =
/// none.
std::vector<uint32_t> next_touches(const kv_trace &of);
outcome<simulated> simulate_kv(const kv_trace &of, const std::vector<uint32_t> &next,
                               const simulation &how);

}  // namespace cubby_cli::replay
