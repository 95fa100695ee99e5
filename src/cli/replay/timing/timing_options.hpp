// What --timing was asked with, and the rules that follow from it.
#pragma once

#include <memory>
#include <optional>

#include "cli/replay/timing/timing.hpp"
#include "cli/replay/walk/workload.hpp"

namespace cubby_cli::replay {

struct timing_options {
  bool on = false;
  std::vector<std::string> links;
  std::optional<uint64_t> compute_ns, block_compute_ns;
  std::string host_capacity, forecast = "exact";
  uint32_t lookahead = 0, block_tokens = 0;

  /// Is there any option that says nothing without --timing, whatever the trace? Links and the
  /// time of a block tell what misses of a mixed trace cost.
  [[nodiscard]] bool said() const {
    return compute_ns || !host_capacity.empty() || lookahead != 0 || block_tokens != 0;
  }
};

/// Why an option is of no use without --timing.
trouble needs_timing();

/// Links and sizes; what depends on the trace comes with each capacity.
outcome<timing_rules> read_rules(const timing_options &chosen, const object_sizes &sizes);

/// Is there an option that such a trace has no use for, or one missing to replay it?
done suits(const timing_options &chosen, const workload &of);

/// Host memory holds as much again as the device where nothing else is said, all without an nvme.
/// That of a mixed trace holds all or nothing.
outcome<timing_rules> rules_at(const timing_options &chosen, timing_rules rules, const workload &of,
                               const asked_capacity &capacity);

/// What a miss costs by these rules, as passed to policies.
miss_costs refetch_of(const timing_rules &rules, const workload &of);

/// The model of such a trace.
std::unique_ptr<reporter> make_clock(const workload &of, const timing_rules &rules);

}  // namespace cubby_cli::replay
