// Policies at capacities: what `cubby replay --simulate` says.
#pragma once

#include <map>
#include <nlohmann/json.hpp>

#include "cli/replay/simulate.hpp"
#include "cli/replay/workload.hpp"

namespace cubby_cli::replay {

struct sweep {
  std::vector<const cubby_policy_ops *> policies;
  std::vector<asked_capacity> capacities;
  uint32_t batch = 1;
  uint64_t seed = 0;
  bool quiet = false;
};

/// Runs policies over one workload, each at each capacity once.
class replayer {
 public:
  replayer(const sweep &chosen, const workload &of)
      : chosen_(chosen), of_(of), progress_(chosen.quiet) {}

  /// Runs it, or recalls it.
  outcome<simulated> run(const cubby_policy_ops *policy, uint32_t capacity);
  /// Runs it with somebody who watches.
  outcome<simulated> watch(const cubby_policy_ops *policy, uint32_t capacity, observer &by);

 private:
  const sweep &chosen_;
  const workload &of_;
  progress_line progress_;
  std::map<std::pair<const cubby_policy_ops *, uint32_t>, simulated> done_;
};

/// One object a policy and capacity, in the order of the capacities. `add` may put more into it.
using adder =
    std::function<done(const cubby_policy_ops *, const asked_capacity &, nlohmann::json &)>;
outcome<nlohmann::json> replay_all(replayer &by, const sweep &chosen, const adder &add);

/// For people.
void print_results(const nlohmann::json &results, bool of_experts);

}  // namespace cubby_cli::replay
