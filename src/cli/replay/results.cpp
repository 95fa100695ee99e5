#include "cli/replay/results.hpp"

#include <algorithm>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

constexpr const char *yardsticks[] = {"lru", "belady"};

double ratio(const simulated &of) {
  return of.accesses == 0 ? 0 : static_cast<double>(of.hits) / static_cast<double>(of.accesses);
}

/// Of the way from LRU to the optimum; nothing when there is no way to go.
json gap_closed(const simulated &found, const simulated &lru, const simulated &best) {
  if (best.hits == lru.hits) return nullptr;
  return (static_cast<double>(found.hits) - static_cast<double>(lru.hits)) /
         (static_cast<double>(best.hits) - static_cast<double>(lru.hits));
}

}  // namespace

replayer::replayer(const sweep &chosen, const workload &of) : chosen_(chosen), of_(of) {
  for (const asked_capacity &capacity : chosen.capacities) {
    for (const char *name : yardsticks) yardstick(name, capacity.lockers);
    for (const contender &policy : chosen.policies) at(policy, capacity.lockers);
  }
}

job &replayer::yardstick(const char *name, uint32_t capacity) {
  return at({cubby_policy_find(name), name, name}, capacity);
}

job &replayer::at(const contender &policy, uint32_t capacity) {
  job *&known = known_[{policy.ops, capacity}];
  if (known != nullptr) return *known;
  jobs_.emplace_back();
  known = &jobs_.back();
  known->how.policy = policy.ops;
  known->how.name = policy.name;
  known->how.capacity = capacity;
  known->how.seed = chosen_.seed;
  return *known;
}

done replayer::run() {
  std::vector<job *> all;
  for (job &one : jobs_) all.push_back(&one);
  if (auto good = run_jobs(of_, all, chosen_.threads, chosen_.quiet); !good) return good;
  for (const asked_capacity &capacity : chosen_.capacities)
    for (const char *name : yardsticks)
      if (const job &one = yardstick(name, capacity.lockers); !one.found)
        return trouble{one.broken};
  return nothing{};
}

outcome<simulated> replayer::watch(const contender &policy, uint32_t capacity, observer &by) {
  simulation how = at(policy, capacity).how;
  how.watchers = {&by};
  return of_.of_experts() ? simulate_experts(of_.schedule, how)
                          : simulate_kv(of_.read.kv, of_.next, how);
}

void drop_broken(replayer &by, sweep &from) {
  for (const asked_capacity &capacity : from.capacities)
    for (const contender &policy : from.policies)
      if (const job &one = by.at(policy, capacity.lockers); !one.found)
        from.broken.push_back(
            {{"policy", policy.name}, {"capacity", capacity.text}, {"why", one.broken}});
  std::erase_if(from.policies, [&](const contender &policy) {
    return std::any_of(from.capacities.begin(), from.capacities.end(), [&](const auto &capacity) {
      return !by.at(policy, capacity.lockers).found;
    });
  });
}

outcome<json> results_of(replayer &by, const sweep &chosen, const adder &add) {
  json results = json::array();
  for (const asked_capacity &capacity : chosen.capacities) {
    const simulated &lru = *by.yardstick("lru", capacity.lockers).found;
    const simulated &best = *by.yardstick("belady", capacity.lockers).found;
    for (const contender &policy : chosen.policies) {
      const job &one = by.at(policy, capacity.lockers);
      const simulated &found = *one.found;
      json line = {{"policy", policy.name},
                   {"capacity", capacity.text},
                   {"capacity_lockers", capacity.lockers},
                   {"batch", chosen.batch},
                   {"hits", found.hits},
                   {"hit_ratio", ratio(found)},
                   {"gap_closed", gap_closed(found, lru, best)},
                   {"regret", ratio(best) - ratio(found)},
                   {"ns_per_visit", found.ns_per_visit},
                   {"state_bytes", found.state_bytes}};
      if (!found.warning.empty()) line["warning"] = found.warning;
      if (auto good = add(policy, capacity, one, line); !good) return good.failure();
      results.push_back(std::move(line));
    }
  }
  return results;
}

std::string overload_note(const json &results) {
  double most = 0;
  for (const json &one : results)
    if (one.contains("load") && one["load"].is_number())
      most = std::max(most, one["load"].get<double>());
  if (most <= 1) return {};
  return "brings more work than time (up to " + fixed_text(most) +
         " s of it a second): first tokens wait in a queue that grows, so compare stall instead, "
         "or make --compute-ns smaller";
}

std::string warn_small(const workload &of, json &results) {
  if (!of.of_experts()) return {};
  const uint64_t working_set = uint64_t{of.schedule.rows} * of.schedule.top_k;
  std::string capacities;
  for (json &one : results) {
    const auto lockers = one["capacity_lockers"].get<uint64_t>();
    if (lockers >= working_set) continue;
    one["warning"] = std::to_string(lockers) + " lockers are below one token's working set of " +
                     std::to_string(working_set) + ": recency is worth nothing here";
    const std::string text = one["capacity"];
    if (capacities != text && !capacities.ends_with(", " + text))
      capacities += (capacities.empty() ? "" : ", ") + text;
  }
  if (capacities.empty()) return {};
  return "capacity " + capacities + ": below one token's working set of " +
         std::to_string(working_set) +
         " lockers, where recency is worth nothing; raise --capacity to see policies differ";
}

namespace {

/// What --timing adds to a line of the table; nothing without it.
struct timed_columns {
  explicit timed_columns(const json &results) {
    if (results.empty() || !results[0].contains("stall")) return;
    const bool tokens = results[0].contains("tokens_per_s");
    speed = tokens ? "tokens_per_s" : "blocks_per_s";
    heads = {tokens ? "tokens/s" : "blocks/s", "stall p50 ms", "p99 ms"};
    of_requests = results[0].contains("first_token");
    if (of_requests) heads.insert(heads.end(), {"first token p50 ms", "p99 ms"});
  }
  void add(const json &one, std::vector<std::string> &to) const {
    if (heads.empty()) return;
    to.push_back(fixed_text(one[speed].get<double>()));
    const auto add_spread = [&](const json &of) {
      for (const char *field : {"p50_ns", "p99_ns"})
        to.push_back(fixed_text(of[field].get<double>() / 1e6));
    };
    add_spread(one["stall"]);
    if (of_requests) add_spread(one["first_token"]);
  }
  std::vector<std::string> heads;
  std::string speed;
  bool of_requests = false;
};

}  // namespace

void print_results(const json &results, bool of_experts) {
  std::vector<std::vector<std::string>> lines = {{"policy", "capacity", "lockers", "hits",
                                                  "hit ratio", "gap closed",
                                                  of_experts ? "ns/visit" : "ns/block", "state"}};
  const timed_columns timed(results);
  lines[0].insert(lines[0].end(), timed.heads.begin(), timed.heads.end());
  for (const json &one : results) {
    const json &gap = one["gap_closed"];
    lines.push_back({one["policy"], one["capacity"],
                     count_text(one["capacity_lockers"].get<uint64_t>()),
                     count_text(one["hits"].get<uint64_t>()),
                     fixed_text(100 * one["hit_ratio"].get<double>()) + " %",
                     gap.is_null() ? "-" : fixed_text(100 * gap.get<double>()) + " %",
                     fixed_text(one["ns_per_visit"].get<double>()),
                     bytes_text(one["state_bytes"].get<uint64_t>())});
    timed.add(one, lines.back());
  }
  print_table(lines);
}

void print_io(const json &results) {
  std::vector<std::vector<std::string>> lines = {{"real bytes", "capacity", "tokens/s", "predicted",
                                                  "read", "evictions", "hits as simulated"}};
  for (const json &one : results) {
    const json &io = one["io"];
    lines.push_back({one["policy"], one["capacity"], fixed_text(io["tokens_per_s"].get<double>()),
                     fixed_text(io["predicted_tokens_per_s"].get<double>()),
                     bytes_text(io["read_bytes"].get<uint64_t>()),
                     count_text(io["evictions"].get<uint64_t>()),
                     one["equal"].get<bool>()
                         ? "yes"
                         : "NO, simulated " + count_text(one["simulated_hits"].get<uint64_t>())});
  }
  print_table(lines);
}

}  // namespace cubby_cli::replay
