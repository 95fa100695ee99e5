// cubby replay: a trace through policies.
#include <iostream>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/replay/policies.hpp"
#include "cli/replay/results.hpp"
#include "cli/replay/save.hpp"
#include "cli/replay/timing.hpp"

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
  std::string write, write_oracle;
  uint32_t object_bytes = 0;  // not said
  bool timing = false;
  std::vector<std::string> links;
  std::optional<uint64_t> compute_ns;
  std::string host_capacity, forecast = "exact";
  uint32_t lookahead = 0;
};

/// What the trace itself has to say, to people and in the object.
void tell_notes(const workload &of, json &object) {
  std::vector<std::string> notes = of.read.notes;
  if (of.read.lost != 0) {
    object["lost"] = of.read.lost;
    notes.push_back("its recorder found no room for " + std::to_string(of.read.lost) +
                    " records; give it a larger ring, or read it more often");
  }
  if (notes.empty()) return;
  object["notes"] = notes;
  for (const std::string &note : notes)
    std::cerr << "cubby replay: " << of.path << ' ' << note << '\n';
}

outcome<sweep> read_sweep(const options &chosen, const workload &of) {
  auto policies = find_policies(chosen.policies, of.of_experts());
  if (!policies) return policies.failure();
  sweep made = {*policies, {}, chosen.batch, chosen.seed, chosen.quiet};
  for (const std::string &text : chosen.capacities) {
    auto one = read_capacity(text, of, least_capacity(of));
    if (!one) return one.failure();
    made.capacities.push_back(*one);
  }
  return made;
}

done write_files(const options &chosen, const workload &of) {
  if (!chosen.write.empty())
    if (auto good = save_trace(chosen.write, of); !good) return good;
  if (!chosen.write_oracle.empty())
    return save_oracle(chosen.write_oracle, of, std::max(chosen.object_bytes, 1u));
  return nothing{};
}

/// Links and sizes; what depends on the trace comes with each capacity.
outcome<timing_rules> read_rules(const options &chosen) {
  constexpr uint64_t usual_object_bytes = 1 << 20;
  if (!chosen.compute_ns)
    return usage_trouble("--timing needs --compute-ns N, the time that one layer computes");
  timing_rules made;
  for (const std::string &text : chosen.links) {
    const auto link = read_link(text);
    if (!link) return link.failure();
    (link->name == "host" ? made.host : made.nvme) = *link;
  }
  if (made.host.name.empty())
    return usage_trouble("--timing needs --link host:SPEED,LATENCY, by which the device is fed");
  if (made.nvme.name.empty() && !chosen.host_capacity.empty())
    return usage_trouble(
        "--host-capacity needs --link nvme:SPEED,LATENCY for what it does not hold");
  made.compute_ns = *chosen.compute_ns;
  made.object_bytes = chosen.object_bytes == 0 ? usual_object_bytes : chosen.object_bytes;
  if (chosen.lookahead != 0)
    made.ahead = chosen.forecast == "repeat" ? forecast::repeat : forecast::exact;
  return made;
}

/// Host memory holds as much again as the device where nothing else is said, all without an nvme.
outcome<timing_rules> rules_at(const options &chosen, timing_rules rules, const workload &of,
                               const asked_capacity &capacity) {
  rules.host_has_all = rules.nvme.name.empty();
  rules.host_capacity = capacity.lockers;
  if (chosen.host_capacity.empty()) return rules;
  const auto asked = read_capacity(chosen.host_capacity, of, 0);
  if (!asked) return asked.failure();
  rules.host_capacity = asked->lockers;
  return rules;
}

outcome<json> replay_trace(const options &chosen) {
  const bool run_policies = chosen.simulate || chosen.timing;
  if (!run_policies && chosen.write.empty() && chosen.write_oracle.empty())
    return usage_trouble(
        "say what to do with the trace: --simulate, --timing, --write or --write-oracle");
  outcome<timing_rules> rules = timing_rules{};
  if (chosen.timing) rules = read_rules(chosen);
  if (!rules) return rules.failure();
  // Names are looked at first: reading a trace may take a while.
  for (const std::string &name : chosen.policies) {
    if (name == "all") continue;
    if (const auto known = find_policy(name); !known) return known.failure();
  }
  const auto of = read_workload(chosen.trace, chosen.batch);
  if (!of) return of.failure();
  json told = {{"trace", chosen.trace},
               {"kind", of->of_experts() ? "experts" : "kv"},
               {"accesses", of->accesses()},
               {"unique", of->unique()}};
  tell_notes(*of, told);
  if (chosen.timing && !of->of_experts())
    return usage_trouble("--timing is for traces of experts; " + chosen.trace + " is of KV blocks");
  outcome<sweep> wanted = sweep{};
  if (run_policies) wanted = read_sweep(chosen, *of);
  if (!wanted) return wanted.failure();
  for (const asked_capacity &capacity : wanted->capacities)
    if (const auto fit = rules_at(chosen, *rules, *of, capacity); !fit) return fit.failure();
  if (auto good = write_files(chosen, *of); !good) return good.failure();
  if (!run_policies) return told;
  replayer by(*wanted, *of);
  const auto add_timing = [&](const cubby_policy_ops *policy, const asked_capacity &capacity,
                              json &line) -> done {
    if (!chosen.timing) return nothing{};
    timing clock(of->schedule, *rules_at(chosen, *rules, *of, capacity));
    const auto found = by.watch(policy, capacity.lockers, clock);
    if (!found) return found.failure();
    line.update(clock.report());
    return nothing{};
  };
  auto results = replay_all(by, *wanted, add_timing);
  if (!results) return results.failure();
  if (!chosen.as_json) print_results(*results, of->of_experts());
  told["results"] = std::move(*results);
  return told;
}

int run(const options &chosen) {
  const auto told = replay_trace(chosen);
  if (!told) return report_trouble("replay", told.failure(), chosen.as_json);
  if (chosen.as_json)
    std::cout << told->dump(-1, ' ', false, json::error_handler_t::replace) << "\n";
  return exit_good;
}

}  // namespace

namespace {

void add_timing_options(CLI::App &command, options &chosen) {
  command.add_flag("--timing", chosen.timing, "Model the time it takes as well");
  command.add_option("--link", chosen.links,
                     "host:25GB/s,10us feeds the device, nvme:6GB/s,80us feeds the host");
  command.add_option("--compute-ns", chosen.compute_ns, "Time that one layer computes");
  command.add_option("--host-capacity", chosen.host_capacity,
                     "Lockers or share in host memory (as many as in the device)");
  command.add_option("--lookahead", chosen.lookahead, "Fetch the next layer's experts ahead (0)")
      ->check(CLI::Range(0u, 1u));
  command
      .add_option("--forecast", chosen.forecast,
                  "What is fetched ahead: its exact route, or what it used last (exact)")
      ->check(CLI::IsMember({"exact", "repeat"}));
}

}  // namespace

void add_replay(CLI::App &app, int &exit_status) {
  auto *command = app.add_subcommand("replay", "Run a trace through placement policies");
  auto chosen = std::make_shared<options>();
  command->add_flag("--simulate", chosen->simulate, "Count hits, without moving any bytes");
  command
      ->add_option(
          "--trace", chosen->trace,
          "routed_experts JSONL, Mooncake JSONL, CSV (token, layer, experts) or a recorded "
          "trace; .xz and .zst as they are")
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
  command->add_option("--write", chosen->write, "Write the trace in cubby's own format");
  command->add_option("--write-oracle", chosen->write_oracle,
                      "Write it as libCacheSim's oracleGeneral");
  command
      ->add_option("--object-bytes", chosen->object_bytes,
                   "Size of a locker (1; 1048576 with --timing)")
      ->check(CLI::Range(1u, ~0u));
  add_timing_options(*command, *chosen);
  command->add_flag("--json", chosen->as_json, "One JSON object on stdout");
  command->add_flag("--quiet", chosen->quiet, "No progress");
  command->callback([chosen, &exit_status] { exit_status = run(*chosen); });
}

}  // namespace cubby_cli
