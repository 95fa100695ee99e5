// cubby-sim: the real runtime in a simulated world, seed by seed, held against a shadow model.
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>

#include "base/mutant.hpp"
#include "cli/command_line.hpp"
#include "sim/faults.hpp"
#include "sim/simulation.hpp"
#include "sim/stored.hpp"

namespace {

using cubby::base::mutant;
using json = nlohmann::ordered_json;

struct named_mutant {
  const char *name;
  mutant which;
};
constexpr named_mutant mutants[] = {{"drop_completion", mutant::drop_completion},
                                    {"skip_digest", mutant::skip_digest},
                                    {"reuse_pinned_frame", mutant::reuse_pinned_frame},
                                    {"publish_early", mutant::publish_early},
                                    {"lose_waiter", mutant::lose_waiter},
                                    {"exceed_budget", mutant::exceed_budget},
                                    {"cross_space", mutant::cross_space},
                                    {"lose_parent", mutant::lose_parent},
                                    {"forget_lease", mutant::forget_lease},
                                    {"neighbour_bytes", mutant::neighbour_bytes},
                                    {"publish_reserved", mutant::publish_reserved},
                                    {"reuse_before_record", mutant::reuse_before_record},
                                    {"believe_failed_flush", mutant::believe_failed_flush},
                                    {"believe_page_cache", mutant::believe_page_cache}};

struct arguments {
  uint64_t seed = 1, steps = 5000, seeds = 1;
  std::string mutant, policy;
  bool list_mutants = false, as_json = false;
};

// What an assertion of the library ends is a violation too; it has to name its seed like any other.
struct running_now {
  const sim::event_log *log = nullptr;  // none is running
  std::function<uint64_t()> step;
} running;
arguments given;
uint64_t running_seed = 0;

std::string replay_line(uint64_t seed) {
  std::string line =
      "cubby-sim --seed " + std::to_string(seed) + " --steps " + std::to_string(given.steps);
  if (!given.mutant.empty()) line += " --mutant " + given.mutant;
  if (!given.policy.empty()) line += " --policy " + given.policy;
  return line;
}

std::string hex(uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "%016llx", static_cast<unsigned long long>(value));
  return text;
}

json violation_json(const sim::violation &one) {
  return {{"seed", one.seed},
          {"step", one.step},
          {"promise", one.promise},
          {"what", one.text},
          {"replay", replay_line(one.seed)},
          {"last_events", one.last_events}};
}

void print_violation(const sim::violation &one) {
  std::fprintf(stderr, "violation of %s: seed %llu, step %llu: %s\n", one.promise.c_str(),
               static_cast<unsigned long long>(one.seed), static_cast<unsigned long long>(one.step),
               one.text.c_str());
  for (const std::string &line : one.last_events) std::fprintf(stderr, "  %s\n", line.c_str());
  std::fprintf(stderr, "replay: %s\n", replay_line(one.seed).c_str());
}

struct sums {
  sim::outcome last;
  uint64_t combined_hash = 0, seeds_done = 0;
  std::vector<sim::violation> violations;
  std::array<uint64_t, cubby_sim::fault_count> faults{};
  sim::seen_set moves;
};

json report(const sums &all) {
  json out = {{"seed", all.last.seed},
              {"steps", given.steps},
              {"seeds", all.seeds_done},
              {"event_hash", hex(all.last.event_hash)},
              {"combined_hash", hex(all.combined_hash)}};
  if (!given.mutant.empty()) out["mutant"] = given.mutant;
  if (!given.policy.empty()) out["policy"] = given.policy;
  out["violations"] = json::array();
  for (const sim::violation &one : all.violations) {
    out["violations"].push_back(violation_json(one));
  }
  out["faults"] = json::object();
  for (size_t i = 0; i < cubby_sim::fault_count; ++i) {
    out["faults"][cubby_sim::fault_name(static_cast<cubby_sim::fault>(i))] = all.faults[i];
  }
  out["moves_seen"] = std::to_string(all.moves.count()) + "/" + std::to_string(sim::seen_count);
  out["moves_missing"] = json::array();
  for (size_t i = 0; i < sim::seen_count; ++i) {
    if (!all.moves.test(i)) out["moves_missing"].push_back(sim::seen_name(i));
  }
  return out;
}

sums so_far;

// abort() raises this in the thread that found the broken invariant, outside any allocation of
// ours.
extern "C" void on_abort(int) {
  sim::violation one{running_seed,
                     0,
                     "assertion",
                     "an assertion of the library ended the run (its line is above)",
                     {}};
  if (running.log != nullptr) {
    one.step = running.step();
    one.last_events = running.log->last();
  }
  print_violation(one);
  if (given.as_json) {
    so_far.last.seed = running_seed;
    so_far.violations.push_back(one);
    std::puts(report(so_far).dump().c_str());
    std::fflush(stdout);
  }
  _exit(1);
}

bool select_mutant() {
  const auto found = std::find_if(std::begin(mutants), std::end(mutants),
                                  [](const auto &one) { return given.mutant == one.name; });
  if (found == std::end(mutants)) {
    std::fprintf(stderr, "cubby-sim: there is no mutant \"%s\"; --list-mutants names them\n",
                 given.mutant.c_str());
    return false;
  }
  cubby::base::selected_mutant = found->which;
  return true;
}

/// One that a runtime takes: the world is not the place to find out that there is none.
bool usable_policy() {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.abi_version = CUBBY_ABI_VERSION;
  config.pump = CUBBY_PUMP_CALLER;
  config.policy = given.policy.c_str();
  cubby_handle *rt = nullptr;
  if (cubby_open(&config, &rt) == CUBBY_OK) return cubby_close(rt) == CUBBY_OK;
  char why[512] = "";
  cubby_explain(nullptr, why, sizeof why);
  std::fprintf(stderr, "cubby-sim: %s\n", why);
  return false;
}

int list_mutants() {
  json names = json::array();
  for (const named_mutant &one : mutants) {
    names.push_back(one.name);
    if (!given.as_json) std::puts(one.name);
  }
  if (given.as_json) std::puts(json{{"mutants", names}}.dump().c_str());
  return 0;
}

/// A run that ended in a violation is not taken apart: the broken runtime may still use its world.
template <class Run>
sim::outcome run_one(uint64_t seed) {
  static std::vector<std::unique_ptr<Run>> broken;
  auto one = std::make_unique<Run>(sim::run_options{seed, given.steps, given.policy});
  running = {&one->log(), [at = one.get()] { return at->step(); }};
  sim::outcome found = one->run();
  running = {};
  if (!found.violations.empty()) broken.push_back(std::move(one));
  return found;
}

void add_outcome(const sim::outcome &found) {
  so_far.combined_hash = cubby::base::mix64(so_far.combined_hash ^ found.event_hash) + found.seed;
  for (size_t i = 0; i < so_far.faults.size(); ++i) so_far.faults[i] += found.faults[i];
  so_far.moves |= found.moves;
  for (const sim::violation &one : found.violations) {
    so_far.violations.push_back(one);
    print_violation(one);
  }
}

void run_seed(uint64_t seed) {
  running_seed = seed;
  so_far.last = run_one<sim::simulation>(seed);
  add_outcome(so_far.last);
  // A store has real files, and takes ten times as long.
  if (so_far.last.violations.empty() && seed % 4 == 1) {
    const sim::outcome stored = run_one<sim::stored_run>(seed);
    so_far.last.event_hash = cubby::base::mix64(so_far.last.event_hash ^ stored.event_hash);
    add_outcome(stored);
  }
  ++so_far.seeds_done;
}

void show_progress() {
  if (given.as_json || given.seeds < 2 || isatty(STDERR_FILENO) == 0) return;
  std::fprintf(stderr, "\r%llu of %llu seeds, %zu violations",
               static_cast<unsigned long long>(so_far.seeds_done),
               static_cast<unsigned long long>(given.seeds), so_far.violations.size());
  if (so_far.seeds_done == given.seeds) std::fputc('\n', stderr);
}

}  // namespace

int main(int argc, char **argv) {
  cubby_cli::command_line program(
      "Runs the runtime in a simulated world, seed by seed, against a shadow model.");
  program.option("--seed", given.seed, "First seed").show_default();
  program.option("--steps", given.steps, "Operations per seed")
      .between(1, 1'000'000'000)
      .show_default();
  program.option("--seeds", given.seeds, "Run this many seeds, one after the other")
      .between(1, 1'000'000'000)
      .show_default();
  program.option("--policy", given.policy,
                 "Decide by this policy, a name or LIB.so (drawn by the seed)");
  program.option("--mutant", given.mutant, "Run with this deliberate defect; it must be found");
  program.flag("--list-mutants", given.list_mutants, "Name the deliberate defects");
  program.flag("--json", given.as_json, "One JSON object on standard output");
  if (const auto exit_status = program.parse(argc, argv)) return *exit_status;
  if (given.list_mutants) return list_mutants();
  if (!given.mutant.empty() && !select_mutant()) return 2;
  if (!given.policy.empty() && !usable_policy()) return 2;
  std::signal(SIGABRT, on_abort);
  // A mutant is caught with its first violation; without one every seed has its say, up to a few.
  const size_t violations_max = given.mutant.empty() ? 10 : 1;
  for (uint64_t i = 0; i < given.seeds && so_far.violations.size() < violations_max; ++i) {
    run_seed(given.seed + i);
    show_progress();
  }
  if (given.as_json) {
    std::puts(report(so_far).dump().c_str());
  } else {
    std::printf("%llu seeds of %llu steps, %zu violations, moves seen %zu/%zu, hash %s\n",
                static_cast<unsigned long long>(so_far.seeds_done),
                static_cast<unsigned long long>(given.steps), so_far.violations.size(),
                so_far.moves.count(), sim::seen_count, hex(so_far.combined_hash).c_str());
  }
  return so_far.violations.empty() ? 0 : 1;
}
