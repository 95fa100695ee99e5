// cubby replay: a trace through policies.
#include <iostream>
#include <memory>

#include "cli/commands.hpp"
#include "cli/replay/policies.hpp"
#include "cli/replay/results.hpp"
#include "cli/replay/save.hpp"

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
  uint32_t object_bytes = 1;
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
    return save_oracle(chosen.write_oracle, of, chosen.object_bytes);
  return nothing{};
}

outcome<json> replay_trace(const options &chosen) {
  if (!chosen.simulate && chosen.write.empty() && chosen.write_oracle.empty())
    return usage_trouble("say what to do with the trace: --simulate, --write or --write-oracle");
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
  const bool run_policies = chosen.simulate;
  outcome<sweep> wanted = sweep{};
  if (run_policies) wanted = read_sweep(chosen, *of);
  if (!wanted) return wanted.failure();
  if (auto good = write_files(chosen, *of); !good) return good.failure();
  if (!run_policies) return told;
  replayer by(*wanted, *of);
  auto results = replay_all(by, *wanted, [](auto...) { return nothing{}; });
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
  command->add_option("--object-bytes", chosen->object_bytes, "Size of a locker (1)")
      ->check(CLI::Range(1u, ~0u));
  command->add_flag("--json", chosen->as_json, "One JSON object on stdout");
  command->add_flag("--quiet", chosen->quiet, "No progress");
  command->callback([chosen, &exit_status] { exit_status = run(*chosen); });
}

}  // namespace cubby_cli
