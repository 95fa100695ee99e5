// A trace as it is played: visits of a batch, and requests between them; which objects are used
// together, and, for policies that know the future, when each is used next.
#pragma once

#include <cubby/policy.h>

#include <span>

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

/// Requests of KV blocks. Where they share a tier with experts their blocks are numbered behind
/// those.
struct request_schedule {
  std::span<const kv_request> requests;  // of the trace, which stays
  std::span<const cubby_object> blocks;  // of all of them, one after the other
  cubby_object first_block = 0;          // object that the trace's block 0 is
  uint32_t unique = 0;                   // blocks
  std::vector<uint32_t> next;  // for each of blocks the request that uses it next; ~0 = none
  std::vector<uint64_t> visits_before;   // of each request; empty where there are no experts
  std::vector<cubby_object> renumbered;  // what `blocks` lies in, unless in the trace
};

/// Sequences are dealt to the slots of the batch in turn, a slot that is through with one takes the
/// next; each slot gives one token a step.
expert_schedule make_schedule(const expert_trace &of, uint32_t batch);
/// The same, with requests that come between steps, once so many tokens have been dealt as lie
/// before them: fills visits_before of each.
expert_schedule make_schedule(const expert_trace &of, uint32_t batch,
                              std::span<const kv_request> requests,
                              std::vector<uint64_t> &visits_before);

/// `first_block`: how many experts there are.
request_schedule make_requests(const kv_trace &of, cubby_object first_block = 0);

/// A next use in the form that policies get.
inline uint64_t from_next(uint32_t next) { return next == ~uint32_t{0} ? CUBBY_NEVER_USED : next; }

}  // namespace cubby_cli::replay
