// A trace in the form that it is replayed in, and capacities of it.
#pragma once

#include "cli/replay/formats/read_trace.hpp"
#include "cli/replay/walk/simulate.hpp"

namespace cubby_cli::replay {

/// Sizes of the objects of a mixed trace.
struct object_sizes {
  uint64_t expert_bytes = 1, block_bytes = 1;
};

struct workload {
  std::string path;
  trace read;
  expert_schedule schedule;   // of experts
  request_schedule requests;  // of KV blocks
  object_sizes sizes;

  [[nodiscard]] trace_kind kind() const { return read.kind; }
  [[nodiscard]] bool of_experts() const { return read.kind == trace_kind::experts; }
  [[nodiscard]] bool is_mixed() const { return read.kind == trace_kind::mixed; }
  /// What a capacity is a part of: lockers of one kind, or bytes where there are both.
  [[nodiscard]] uint64_t units() const {
    return schedule.objects() * sizes.expert_bytes + requests.unique * sizes.block_bytes;
  }
  [[nodiscard]] uint32_t lockers() const { return schedule.objects() + requests.unique; }
  [[nodiscard]] uint64_t accesses() const { return schedule.used.size() + requests.blocks.size(); }
  [[nodiscard]] uint32_t unique() const { return schedule.unique + requests.unique; }
  [[nodiscard]] course to_play() const {
    return {read.has_experts() ? &schedule : nullptr, read.has_blocks() ? &requests : nullptr,
            sizes.expert_bytes, sizes.block_bytes};
  }
};

/// What is to be read.
struct trace_wish {
  std::string path, with;  // `with`: laid over it; may be empty
  uint32_t batch = 1;
  uint64_t limit = no_limit;
  object_sizes sizes;  // of a mixed trace
};
outcome<workload> read_workload(const trace_wish &wish);

struct asked_capacity {
  std::string text;
  uint64_t units = 0;  // as workload::units()
};

/// "25%" of what there is, a number of lockers, or a size where the trace is mixed; `least` and all
/// of it are its bounds.
outcome<asked_capacity> read_capacity(const std::string &text, const workload &of, uint64_t least);

/// What one layer of a token, or one block, needs.
uint64_t least_capacity(const workload &of);

}  // namespace cubby_cli::replay
