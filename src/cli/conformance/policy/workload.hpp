// Made-up uses of a tier, the same in every run: the input of a policy under test.
#pragma once
#include <cubby/policy.h>

#include <vector>

namespace cubby_conformance::policies {

/// A visit of a layer by one sequence or several, or a request of blocks.
struct turn {
  bool visit = false;
  uint32_t bank = 0, row = 0, prefill = 0;
  std::vector<cubby_object> used;  // each once; a request's blocks from the first to the last
  std::vector<std::vector<cubby_object>> routes;  // of a visit: what each sequence chose
  std::vector<uint64_t> next_use;                 // of each used one
  uint64_t now_ns = 0;
};

struct workload {
  const char *name = "";
  uint32_t needs = 0;  // flags of the policies it is for
  std::vector<cubby_policy_bank> banks;
  uint64_t budget_bytes = 0;
  uint32_t slots = 1;
  std::vector<turn> turns;

  uint32_t object_count() const;
  /// The config it makes; stands as long as the workload does.
  cubby_policy_config config(uint64_t seed = 1) const;
};

cubby_policy_bank make_bank(uint32_t kind, cubby_object first, uint32_t rows, uint32_t columns,
                            uint64_t object_bytes);

/// Those that a policy with these flags is made for.
std::vector<workload> workloads_for(uint32_t flags);

}  // namespace cubby_conformance::policies
