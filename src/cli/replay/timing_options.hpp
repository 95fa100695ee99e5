// What --timing was asked with, and the rules that follow from it.
#pragma once

#include <optional>

#include "cli/replay/timing.hpp"
#include "cli/replay/workload.hpp"

namespace cubby_cli::replay {

struct timing_options {
  bool on = false;
  std::vector<std::string> links;
  std::optional<uint64_t> compute_ns;
  std::string host_capacity, forecast = "exact";
  uint32_t lookahead = 0;
};

/// Links and sizes; what depends on the trace comes with each capacity.
outcome<timing_rules> read_rules(const timing_options &chosen, uint64_t object_bytes);

/// Host memory holds as much again as the device where nothing else is said, all without an nvme.
outcome<timing_rules> rules_at(const timing_options &chosen, timing_rules rules, const workload &of,
                               const asked_capacity &capacity);

}  // namespace cubby_cli::replay
