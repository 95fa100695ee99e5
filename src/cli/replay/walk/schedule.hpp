// A trace of experts as the visits of a batch: which objects are used together, and, for policies
// that know the future, when each is used next.
#pragma once

#include <cubby/policy.h>

#include "cli/replay/trace.hpp"

namespace cubby_cli::replay {

struct visit_record {
  uint32_t row = 0, prefill = 0;
  uint64_t first_used = 0;   // in expert_schedule::used
  uint64_t first_route = 0;  // in expert_schedule::routes
  uint32_t used_count = 0, route_count = 0;
};

struct expert_schedule {
  uint32_t rows = 0, columns = 0, top_k = 0, batch = 1;
  std::vector<visit_record> visits;
  std::vector<cubby_object> used;          // each once a visit
  std::vector<uint32_t> next;              // the visit that uses it next; ~0 = none
  std::vector<cubby_object> routed;        // what the slots chose; `used` itself for a batch of 1
  std::vector<cubby_policy_route> routes;  // into `routed`
  uint32_t unique = 0;                     // objects ever used

  [[nodiscard]] uint32_t objects() const { return rows * columns; }
};

/// Sequences are dealt to the slots of the batch in turn, a slot that is through with one takes the
/// next; each slot gives one token a step.
expert_schedule make_schedule(const expert_trace &of, uint32_t batch);

}  // namespace cubby_cli::replay
