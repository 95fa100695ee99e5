// Many policies at many capacities over one trace, which is read once. Each walks it from beginning
// to end by itself: taking turns within the trace would make every turn fetch a policy's state back
// into the caches, and a trace in memory costs nothing to walk again. Threads share the walks.
#pragma once

#include <functional>
#include <optional>

#include "cli/replay/walk/simulate.hpp"
#include "cli/replay/walk/workload.hpp"

namespace cubby_cli::replay {

/// One policy at one capacity, its observers, and its results.
struct job {
  simulation how;  // but for its observers, which are made when it begins
  std::function<std::unique_ptr<reporter>()> clock, details, kinds;  // may be empty
  std::optional<simulated> found;
  std::string broken;  // how the policy failed, where nothing was found
  nlohmann::json clock_report, details_report, kinds_report;
};

/// Does them all. What is found does not depend on the number of threads (0 = as many as there are
/// processors), nor does the trouble: it is that of the first job that has any. A policy that
/// breaks the rules, or cannot be made, is no trouble of the others: its job says so.
done run_jobs(const workload &of, const std::vector<job *> &jobs, uint32_t threads, bool quiet);

}  // namespace cubby_cli::replay
