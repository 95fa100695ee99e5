// Policies at capacities: what `cubby replay --simulate` says.
#pragma once

#include <deque>
#include <map>

#include "cli/replay/policies.hpp"
#include "cli/replay/walk/jobs.hpp"

namespace cubby_cli::replay {

struct sweep {
  std::vector<replayed_policy> policies;
  std::vector<asked_capacity> capacities;
  uint32_t batch = 1;
  uint64_t seed = 0;
  bool quiet = false;
  uint32_t threads = 0;   // as many as there are processors
  nlohmann::json broken;  // policies that do not take part, or broke the rules: one object each
};

/// Runs policies over one workload, each at each capacity once, LRU and the optimum beside them;
/// LRU alone where the trace is mixed.
class replayer {
 public:
  replayer(const sweep &chosen, const workload &of);

  [[nodiscard]] std::deque<job> &jobs() { return jobs_; }
  /// What is known of it, or will be after run(). Stays where it is.
  job &at(const replayed_policy &policy, uint64_t capacity);
  /// The same of a policy that others are measured by.
  job &yardstick(const char *name, uint64_t capacity);
  /// Trouble too when a yardstick failed, without which there is nothing to compare with.
  done run();
  /// Runs it once more, with an observer.
  outcome<simulated> watch(const replayed_policy &policy, uint64_t capacity, observer &by);

 private:
  const sweep &chosen_;
  const workload &of_;
  std::deque<job> jobs_;
  std::map<std::pair<const cubby_policy_ops *, uint64_t>, job *> known_;
};

/// Takes the policies that failed anywhere out of the sweep, as half a curve invites comparisons
/// that do not hold; adds each failure to `broken`.
void drop_broken(replayer &by, sweep &from);

/// One object a policy and capacity, in the order of the capacities. `add` may put more into it.
using adder = std::function<done(const replayed_policy &, const asked_capacity &, const job &,
                                 nlohmann::json &)>;
outcome<nlohmann::json> results_of(replayer &by, const sweep &chosen, const workload &of,
                                   const adder &add);

/// What --timing has to say beside its figures; empty = nothing.
std::string overload_note(const nlohmann::json &results);

/// Says of capacities below one token's working set what they are, in each of their results; one
/// sentence for people, or nothing.
std::string warn_small(const workload &of, nlohmann::json &results);

/// For people.
void print_results(const nlohmann::json &results, trace_kind kind);
/// What --io measured beside what was foreseen.
void print_io(const nlohmann::json &results);

}  // namespace cubby_cli::replay
