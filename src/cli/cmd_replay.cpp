// cubby replay: a trace through policies.
#include <cmath>
#include <iostream>
#include <map>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/replay/policies.hpp"
#include "cli/replay/simulate.hpp"

namespace cubby_cli {
namespace {

using namespace replay;
using nlohmann::json;

struct options {
  bool simulate = false, as_json = false, quiet = false;
  std::string trace;
  std::vector<std::string> policies = {"all"}, capacities = {"10%", "25%", "50%"};
  uint32_t batch = 1;
  uint64_t seed = 0;
};

struct asked_capacity {
  std::string text;
  uint32_t lockers = 0;
};

/// The trace in the form that it is replayed in.
struct workload {
  trace read;
  expert_schedule schedule;
  std::vector<uint32_t> next;

  [[nodiscard]] uint32_t lockers() const {
    return read.of_experts ? schedule.objects() : read.kv.unique;
  }
  [[nodiscard]] uint64_t accesses() const {
    return read.of_experts ? schedule.used.size() : read.kv.blocks.size();
  }
  [[nodiscard]] uint32_t unique() const {
    return read.of_experts ? schedule.unique : read.kv.unique;
  }
};

/// "25%" of the lockers there are, or a number of lockers.
outcome<asked_capacity> read_capacity(const std::string &text, const workload &of) {
  const bool percent = text.ends_with('%');
  size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception &) {
    used = 0;
  }
  if (used == 0 || used + (percent ? 1 : 0) != text.size() || !std::isfinite(number))
    return usage_trouble("capacity \"" + text +
                         "\" is neither a share like 25% nor a number of lockers");
  const uint32_t all = of.lockers();
  const double lockers = std::floor((percent ? number / 100 * all : number) + 0.5);
  const uint32_t least = of.read.of_experts ? of.schedule.top_k : 1;
  if (!(lockers >= least))
    return usage_trouble("capacity " + text + " is " + std::to_string(std::llround(lockers)) +
                         " lockers, and one layer of a token alone needs " + std::to_string(least));
  if (lockers > all)
    return usage_trouble("capacity " + text + " is more than all " + std::to_string(all) +
                         " lockers of the trace");
  return asked_capacity{text, static_cast<uint32_t>(lockers)};
}

class replayer {
 public:
  replayer(const options &chosen, const workload &of)
      : chosen_(chosen), of_(of), progress_(chosen.quiet) {}

  /// Runs it, or recalls it.
  outcome<simulated> run(const cubby_policy_ops *policy, uint32_t capacity) {
    const auto key = std::make_pair(policy, capacity);
    if (const auto known = done_.find(key); known != done_.end()) return known->second;
    simulation how;
    how.policy = policy;
    how.capacity = capacity;
    how.seed = chosen_.seed;
    how.progress = [&](double part) {
      if (!progress_.due()) return;
      progress_.show(std::string(policy->name) + ", " + std::to_string(capacity) +
                     " lockers: " + std::to_string(static_cast<int>(100 * part)) + " %");
    };
    auto found = of_.read.of_experts ? simulate_experts(of_.schedule, how)
                                     : simulate_kv(of_.read.kv, of_.next, how);
    if (found) done_.emplace(key, *found);
    return found;
  }

 private:
  const options &chosen_;
  const workload &of_;
  progress_line progress_;
  std::map<std::pair<const cubby_policy_ops *, uint32_t>, simulated> done_;
};

double ratio(const simulated &of) {
  return of.accesses == 0 ? 0 : static_cast<double>(of.hits) / static_cast<double>(of.accesses);
}

/// Of the way from LRU to the optimum; nothing when there is no way to go.
json gap_closed(const simulated &found, const simulated &lru, const simulated &best) {
  if (best.hits == lru.hits) return nullptr;
  return (static_cast<double>(found.hits) - static_cast<double>(lru.hits)) /
         (static_cast<double>(best.hits) - static_cast<double>(lru.hits));
}

outcome<json> replay_all(const options &chosen, const workload &of,
                         const std::vector<const cubby_policy_ops *> &policies,
                         const std::vector<asked_capacity> &capacities) {
  replayer replay(chosen, of);
  json results = json::array();
  for (const asked_capacity &capacity : capacities) {
    const auto lru = replay.run(cubby_policy_find("lru"), capacity.lockers);
    if (!lru) return lru.failure();
    const auto best = replay.run(cubby_policy_find("belady"), capacity.lockers);
    if (!best) return best.failure();
    for (const cubby_policy_ops *policy : policies) {
      const auto found = replay.run(policy, capacity.lockers);
      if (!found) return found.failure();
      json line = {{"policy", policy->name},
                   {"capacity", capacity.text},
                   {"capacity_lockers", capacity.lockers},
                   {"batch", chosen.batch},
                   {"hits", found->hits},
                   {"hit_ratio", ratio(*found)},
                   {"gap_closed", gap_closed(*found, *lru, *best)},
                   {"ns_per_visit", found->ns_per_visit},
                   {"state_bytes", found->state_bytes}};
      if (!found->warning.empty()) line["warning"] = found->warning;
      results.push_back(line);
    }
  }
  return results;
}

void print_results(const json &results, const workload &of) {
  std::vector<std::vector<std::string>> lines = {
      {"policy", "capacity", "lockers", "hits", "hit ratio", "gap closed",
       of.read.of_experts ? "ns/visit" : "ns/block", "state"}};
  for (const json &one : results) {
    lines.push_back(
        {one["policy"], one["capacity"], count_text(one["capacity_lockers"].get<uint64_t>()),
         count_text(one["hits"].get<uint64_t>()),
         fixed_text(100 * one["hit_ratio"].get<double>()) + " %",
         one["gap_closed"].is_null() ? "-"
                                     : fixed_text(100 * one["gap_closed"].get<double>()) + " %",
         fixed_text(one["ns_per_visit"].get<double>()),
         bytes_text(one["state_bytes"].get<uint64_t>())});
  }
  print_table(lines);
}

outcome<json> replay_trace(const options &chosen) {
  if (!chosen.simulate) return usage_trouble("say what to do with the trace: --simulate");
  // Names are looked at first: reading a trace may take a while.
  for (const std::string &name : chosen.policies) {
    if (name == "all") continue;
    if (const auto known = find_policy(name); !known) return known.failure();
  }
  auto read = read_trace(chosen.trace);
  if (!read) return read.failure();
  workload of;
  of.read = std::move(*read);
  if (of.read.of_experts) {
    of.schedule = make_schedule(of.read.experts, chosen.batch);
  } else if (chosen.batch != 1) {
    return usage_trouble("--batch is for traces of experts; " + chosen.trace + " is of KV blocks");
  } else {
    of.next = next_touches(of.read.kv);
  }
  if (of.accesses() == 0) return usage_trouble(chosen.trace + " holds no recorded use");
  auto policies = find_policies(chosen.policies, of.read.of_experts);
  if (!policies) return policies.failure();
  std::vector<asked_capacity> capacities;
  for (const std::string &text : chosen.capacities) {
    auto one = read_capacity(text, of);
    if (!one) return one.failure();
    capacities.push_back(*one);
  }
  auto results = replay_all(chosen, of, *policies, capacities);
  if (!results) return results.failure();
  if (!chosen.as_json) print_results(*results, of);
  return json{{"trace", chosen.trace},
              {"kind", of.read.of_experts ? "experts" : "kv"},
              {"accesses", of.accesses()},
              {"unique", of.unique()},
              {"results", *results}};
}

int run(const options &chosen) {
  const auto told = replay_trace(chosen);
  if (!told) return report_trouble("replay", told.failure(), chosen.as_json);
  if (chosen.as_json)
    std::cout << told->dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
  return exit_good;
}

}  // namespace

void add_replay(CLI::App &app, int &exit_status) {
  auto *command = app.add_subcommand("replay", "Run a trace through placement policies");
  auto chosen = std::make_shared<options>();
  command->add_flag("--simulate", chosen->simulate, "Count hits, without moving any bytes");
  command
      ->add_option("--trace", chosen->trace,
                   "routed_experts JSONL, Mooncake JSONL or CSV (token, layer, experts); .xz and "
                   ".zst as they are")
      ->required();
  command
      ->add_option("--policy", chosen->policies,
                   "Names or libraries (LIB.so) with commas between them, or all (all)")
      ->delimiter(',');
  command
      ->add_option("--capacity", chosen->capacities,
                   "Shares of the lockers there are, or numbers of them (10%,25%,50%)")
      ->delimiter(',');
  command->add_option("--batch", chosen->batch, "Sequences decoded side by side (1)")
      ->check(CLI::Range(1, 1024));
  command->add_option("--seed", chosen->seed, "For policies that throw dice (0)");
  command->add_flag("--json", chosen->as_json, "One JSON object on stdout");
  command->add_flag("--quiet", chosen->quiet, "No progress");
  command->callback([chosen, &exit_status] { exit_status = run(*chosen); });
}

}  // namespace cubby_cli
