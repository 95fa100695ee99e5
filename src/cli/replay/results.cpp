#include "cli/replay/results.hpp"

#include <algorithm>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

/// The optimum knows neither sizes nor costs, so it is none of a mixed trace.
std::vector<const char *> yardsticks_for(const workload &of) {
  if (of.is_mixed()) return {"lru"};
  return {"lru", "belady"};
}

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
    for (const char *name : yardsticks_for(of)) yardstick(name, capacity.units);
    for (const replayed_policy &policy : chosen.policies) at(policy, capacity.units);
  }
}

job &replayer::yardstick(const char *name, uint64_t capacity) {
  return at({cubby_policy_find(name), name, name}, capacity);
}

job &replayer::at(const replayed_policy &policy, uint64_t capacity) {
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
    for (const char *name : yardsticks_for(of_))
      if (const job &one = yardstick(name, capacity.units); !one.found) return trouble{one.broken};
  return nothing{};
}

outcome<simulated> replayer::watch(const replayed_policy &policy, uint64_t capacity, observer &by) {
  simulation how = at(policy, capacity).how;
  how.watchers = {&by};
  return simulate(of_.to_play(), how);
}

void drop_broken(replayer &by, sweep &from) {
  for (const asked_capacity &capacity : from.capacities)
    for (const replayed_policy &policy : from.policies)
      if (const job &one = by.at(policy, capacity.units); !one.found)
        from.broken.push_back(
            {{"policy", policy.name}, {"capacity", capacity.text}, {"why", one.broken}});
  std::erase_if(from.policies, [&](const replayed_policy &policy) {
    return std::any_of(from.capacities.begin(), from.capacities.end(),
                       [&](const auto &capacity) { return !by.at(policy, capacity.units).found; });
  });
}

namespace {

/// What is said of any trace.
json line_of(const replayed_policy &policy, const asked_capacity &capacity, const job &one,
             uint32_t batch) {
  const simulated &found = *one.found;
  json line = {{"policy", policy.name},
               {"capacity", capacity.text},
               {"batch", batch},
               {"hits", found.hits},
               {"hit_ratio", ratio(found)},
               {"ns_per_visit", found.ns_per_visit},
               {"state_bytes", found.state_bytes}};
  if (!found.warning.empty()) line["warning"] = found.warning;
  return line;
}

/// Beside the yardsticks.
void compare(replayer &by, const asked_capacity &capacity, const job &one, json &line) {
  const simulated &lru = *by.yardstick("lru", capacity.units).found;
  const simulated &best = *by.yardstick("belady", capacity.units).found;
  line["capacity_lockers"] = capacity.units;
  line["gap_closed"] = gap_closed(*one.found, lru, best);
  line["regret"] = ratio(best) - ratio(*one.found);
}

/// The same of a mixed trace, where waiting counts and no optimum is known.
void compare_kinds(replayer &by, const asked_capacity &capacity, const job &one, json &line) {
  line.update(one.kinds_report);
  const json &lru = by.yardstick("lru", capacity.units).kinds_report;
  const auto waited = line["waited_ns"].get<double>(), of_lru = lru["waited_ns"].get<double>();
  line["capacity_bytes"] = capacity.units;
  line["gap_closed"] = nullptr;
  line["waited_saved"] = of_lru == 0 ? json(nullptr) : json(1 - waited / of_lru);
}

}  // namespace

outcome<json> results_of(replayer &by, const sweep &chosen, const workload &of, const adder &add) {
  json results = json::array();
  for (const asked_capacity &capacity : chosen.capacities)
    for (const replayed_policy &policy : chosen.policies) {
      const job &one = by.at(policy, capacity.units);
      json line = line_of(policy, capacity, one, chosen.batch);
      (of.is_mixed() ? compare_kinds : compare)(by, capacity, one, line);
      if (auto good = add(policy, capacity, one, line); !good) return good.failure();
      results.push_back(std::move(line));
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

std::string share_text(const json &share) {
  return share.is_null() ? "-" : percent_text(share.get<double>());
}

std::vector<std::string> cells_of(const json &one) {
  return {one["policy"],
          one["capacity"],
          count_text(one["capacity_lockers"].get<uint64_t>()),
          count_text(one["hits"].get<uint64_t>()),
          share_text(one["hit_ratio"]),
          share_text(one["gap_closed"])};
}

std::vector<std::string> mixed_cells(const json &one) {
  double shares = 0;
  for (const json &share : one["blocks_share"]) shares += share.get<double>();
  return {one["policy"],
          one["capacity"],
          bytes_text(one["capacity_bytes"].get<uint64_t>()),
          share_text(one["hit_ratio"]),
          share_text(one["experts"]["hit_ratio"]),
          share_text(one["blocks"]["hit_ratio"]),
          fixed_text(one["waited_ns"].get<double>() / 1e6),
          share_text(one["waited_saved"]),
          percent_text(shares / static_cast<double>(one["blocks_share"].size()))};
}

}  // namespace

void print_results(const json &results, trace_kind kind) {
  std::vector<std::vector<std::string>> lines;
  if (kind == trace_kind::mixed)
    lines = {{"policy", "capacity", "bytes", "hit ratio", "experts", "blocks", "waited ms", "saved",
              "blocks hold", "ns/visit", "state"}};
  else
    lines = {{"policy", "capacity", "lockers", "hits", "hit ratio", "gap closed",
              kind == trace_kind::experts ? "ns/visit" : "ns/block", "state"}};
  const timed_columns timed(results);
  lines[0].insert(lines[0].end(), timed.heads.begin(), timed.heads.end());
  for (const json &one : results) {
    lines.push_back(kind == trace_kind::mixed ? mixed_cells(one) : cells_of(one));
    lines.back().push_back(fixed_text(one["ns_per_visit"].get<double>()));
    lines.back().push_back(bytes_text(one["state_bytes"].get<uint64_t>()));
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
