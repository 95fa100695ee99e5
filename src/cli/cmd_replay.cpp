// cubby replay: a trace through policies.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <memory>
#include <optional>

#include "cli/commands.hpp"
#include "cli/printable.hpp"
#include "cli/replay/formats/compact.hpp"
#include "cli/replay/formats/oracle.hpp"
#include "cli/replay/formats/read_trace.hpp"
#include "cli/replay/formats/save.hpp"
#include "cli/replay/matrix/matrix.hpp"
#include "cli/replay/page/details.hpp"
#include "cli/replay/page/page.hpp"
#include "cli/replay/policies.hpp"
#include "cli/replay/real_bytes.hpp"
#include "cli/replay/results.hpp"
#include "cli/replay/timing/timing_options.hpp"
#include "cli/replay/walk/kind_watch.hpp"

namespace cubby_cli {
namespace {

using namespace replay;
using nlohmann::json;

struct options {
  bool simulate = false, as_json = false, quiet = false;
  std::string trace, with, matrix;
  std::vector<std::string> policies = {"all"}, capacities;
  uint32_t batch = 1;
  std::optional<uint64_t> limit;  // of tokens or requests
  uint64_t seed = 0;
  uint32_t threads = 0;  // as many as there are processors
  std::string write, write_oracle;
  uint32_t object_bytes = 0, block_bytes = 0;  // not said
  std::string html;
  timing_options timing;
  io_options io;

  /// Are policies to be run at all, or is the trace only written in another form?
  [[nodiscard]] bool runs() const { return simulate || timing.on || io.on || !html.empty(); }
};

/// What the trace itself has to say, to people and in the object.
void add_notes(const options &chosen, const workload &of, json &object) {
  std::vector<std::string> notes = of.read.notes;
  if (of.read.has_experts() && of.schedule.batch < chosen.batch)
    notes.push_back("has " + std::to_string(of.schedule.batch) +
                    " sequences in what is read of it, so no more are decoded side by side, not " +
                    std::to_string(chosen.batch));
  if (of.read.lost != 0) {
    object["lost"] = of.read.lost;
    notes.push_back("its recorder found no room for " + std::to_string(of.read.lost) +
                    " records; give it a larger ring, or read it more often");
  }
  if (notes.empty()) return;
  object["notes"] = notes;
  for (const std::string &note : notes)
    std::cerr << "cubby replay: " << printable(of.path + ' ' + note) << '\n';
}

/// A curve where a page is asked for: those of ten shares that the trace's layers fit in.
std::vector<std::string> usual_capacities(const options &chosen, const workload &of) {
  if (chosen.html.empty()) return {"10%", "25%", "50%"};
  std::vector<std::string> fitting;
  for (const char *share : {"1%", "2%", "5%", "10%", "15%", "25%", "35%", "50%", "70%", "90%"})
    if (read_capacity(share, of, least_capacity(of))) fitting.emplace_back(share);
  return fitting.empty() ? std::vector<std::string>{"100%"} : fitting;
}

outcome<sweep> read_sweep(const options &chosen, const workload &of, const real_bytes *io) {
  auto policies = find_policies(chosen.policies, of.kind());
  if (!policies) return policies.failure();
  // As many as there are sequences for.
  const uint32_t batch = of.read.has_experts() ? of.schedule.batch : chosen.batch;
  sweep made = {policies->policies, {}, batch, chosen.seed, chosen.quiet, chosen.threads,
                policies->broken};
  if (io != nullptr && chosen.policies == std::vector<std::string>{"all"})
    std::erase_if(made.policies, [](const replayed_policy &one) { return one.needs_future(); });
  std::vector<std::string> asked = chosen.capacities;
  if (asked.empty() && io != nullptr) asked = {io->usual_capacity(made.policies)};
  if (asked.empty()) asked = usual_capacities(chosen, of);
  for (const std::string &text : asked) {
    auto one = read_capacity(text, of, least_capacity(of));
    if (!one) return one.failure();
    const auto same = [&](const asked_capacity &other) { return other.text == one->text; };
    if (std::none_of(made.capacities.begin(), made.capacities.end(), same))
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

/// The capacity next to a quarter, where results differ most.
const asked_capacity &closer_capacity(const sweep &wanted, const workload &of) {
  const asked_capacity *at = &wanted.capacities.front();
  const auto off = [&](const asked_capacity &one) {
    return std::abs(static_cast<double>(one.units) - 0.25 * static_cast<double>(of.units()));
  };
  for (const asked_capacity &one : wanted.capacities)
    if (off(one) < off(*at)) at = &one;
  return *at;
}

/// LRU too, which the others are compared with.
void watch_kinds(const workload &of, const timing_rules &rules, replayer &by) {
  for (job &one : by.jobs()) {
    one.how.refetch = refetch_of(rules, of);
    one.kinds = [&of, refetch = one.how.refetch] {
      return std::make_unique<kind_watch>(of.to_play(), refetch);
    };
  }
}

/// Adds observers: clocks everywhere, details at one capacity.
done post_watchers(const options &chosen, const workload &of, const sweep &wanted,
                   const timing_rules &rules, replayer &by) {
  if (of.is_mixed()) watch_kinds(of, rules, by);
  for (const asked_capacity &capacity : wanted.capacities) {
    if (!chosen.timing.on) break;
    const auto here = rules_at(chosen.timing, rules, of, capacity);
    if (!here) return here.failure();
    for (const replayed_policy &policy : wanted.policies) {
      job &one = by.at(policy, capacity.units);
      one.how.refetch = refetch_of(*here, of);
      one.clock = [&of, here = *here] { return make_clock(of, here); };
    }
  }
  if (chosen.html.empty() || of.is_mixed()) return nothing{};
  for (const replayed_policy &policy : wanted.policies)
    by.at(policy, closer_capacity(wanted, of).units).details = [&of] {
      return std::make_unique<detail_watch>(of);
    };
  return nothing{};
}

json details_of(replayer &by, const sweep &wanted, const workload &of) {
  const asked_capacity &at = closer_capacity(wanted, of);
  if (of.is_mixed()) return {{"capacity", at.text}};
  json details = {{"capacity", at.text}, {"capacity_lockers", at.units}};
  details["policies"] = json::array();
  for (const replayed_policy &policy : wanted.policies) {
    json one = by.at(policy, at.units).details_report;
    one["policy"] = policy.name;
    details["policies"].push_back(std::move(one));
  }
  return details;
}

void print_broken(const json &broken) {
  for (const json &one : broken)
    std::cerr << "cubby replay: "
              << (one.contains("capacity")
                      ? "at capacity " + one["capacity"].get<std::string>() + " "
                      : std::string())
              << printable(one["why"].get<std::string>()) << "; the others go on without it\n";
}

/// What the policies do with the trace. The place for further ways of driving one, beside
/// simulation and its clock: each adds its fields to the results.
outcome<json> run_policies(const options &chosen, const workload &of, const sweep &wanted,
                           const timing_rules &rules, real_bytes *io, json report) {
  replayer by(wanted, of);
  if (auto good = post_watchers(chosen, of, wanted, rules, by); !good) return good.failure();
  if (auto good = by.run(); !good) return good.failure();
  sweep left = wanted;
  drop_broken(by, left);
  if (left.policies.empty()) return usage_trouble(left.broken[0]["why"]);
  if (!left.broken.empty()) {
    print_broken(left.broken);
    report["broken"] = left.broken;
  }
  const auto add = [&](const replayed_policy &policy, const asked_capacity &capacity,
                       const job &one, json &line) -> done {
    if (io != nullptr) {
      auto added = io->add(by, of, policy, capacity, line);
      if (!added) return added;
    }
    if (chosen.timing.on) line.update(one.clock_report);
    return nothing{};
  };
  auto results = results_of(by, left, of, add);
  if (!results) return results.failure();
  report["results"] = std::move(*results);
  if (const std::string small = warn_small(of, report["results"]); !small.empty())
    std::cerr << "cubby replay: " << small << '\n';
  if (const std::string note = overload_note(report["results"]); !note.empty()) {
    report["notes"].push_back(note);
    std::cerr << "cubby replay: " << printable(of.path + ' ' + note) << '\n';
  }
  if (chosen.html.empty()) return report;
  if (!of.is_mixed()) report["lockers"] = of.lockers();
  report["details"] = details_of(by, left, of);
  if (auto good = save_page(chosen.html, page_of(report)); !good) return good.failure();
  return report;
}

/// Errors that are found before the trace is read, which may take a while.
done check(const options &chosen) {
  if (!chosen.runs() && chosen.write.empty() && chosen.write_oracle.empty())
    return usage_trouble(
        "say what to do with the trace: --simulate, --timing, --io, --html, --write or "
        "--write-oracle");
  if (chosen.timing.said() && !chosen.timing.on) return needs_timing();
  if (auto good = needs_io(chosen.io); !good) return good;
  const std::vector<named_file> written = {{"--write", chosen.write, is_compact_file},
                                           {"--write-oracle", chosen.write_oracle, is_oracle_file},
                                           {"--html", chosen.html, is_page}};
  std::vector<named_file> read = {{"--trace", chosen.trace}};
  if (!chosen.with.empty()) read.push_back({"--with", chosen.with});
  if (auto good = check_distinct(read, written); !good) return good;
  for (const named_file &file : written) {
    if (file.path.empty()) continue;
    if (auto good = check_place(file); !good) return good;
  }
  return check_policies(chosen.policies);
}

/// Is there an option that such a trace has no use for?
done suits_trace(const options &chosen, const workload &of) {
  if (!of.is_mixed() && chosen.block_bytes != 0)
    return usage_trouble("--block-bytes is for traces of experts and KV blocks together; " +
                         of.path + " is of " + words_for(of.kind()) + ": use --object-bytes");
  if (of.is_mixed() && !chosen.write_oracle.empty())
    return usage_trouble("--write-oracle writes traces of one kind; " + of.path +
                         " is of experts and KV blocks: use --write");
  return chosen.runs() ? suits(chosen.timing, of) : nothing{};
}

/// What is said of the trace itself.
json describe(const options &chosen, const workload &of, const timing_rules &rules) {
  json report = {{"trace", chosen.trace},
                 {"kind", name_of(of.kind())},
                 {"accesses", of.accesses()},
                 {"unique", of.unique()}};
  if (of.read.has_experts()) report["tokens"] = of.read.experts.tokens();
  if (of.read.has_blocks()) report["requests"] = of.read.kv.requests.size();
  if (chosen.limit) report["limit"] = *chosen.limit;
  if (!chosen.with.empty()) report["with"] = chosen.with;
  if (!of.is_mixed()) return report;
  report["object_bytes"] = of.sizes.expert_bytes;
  report["block_bytes"] = of.sizes.block_bytes;
  report["all_bytes"] = of.units();
  if (!chosen.runs()) return report;
  const miss_costs refetch = refetch_of(rules, of);
  report["refetch_ns"] = {{"expert", refetch.expert_ns}, {"block", refetch.block_ns}};
  return report;
}

outcome<json> replay_trace(const options &chosen) {
  constexpr uint32_t usual_object_bytes = 1 << 20;
  if (auto good = check(chosen); !good) return good.failure();
  const object_sizes sizes = {chosen.object_bytes != 0 ? chosen.object_bytes : usual_object_bytes,
                              chosen.block_bytes != 0 ? chosen.block_bytes : usual_object_bytes};
  const auto rules = read_rules(chosen.timing, sizes);
  if (!rules) return rules.failure();
  const auto of = read_workload(
      {chosen.trace, chosen.with, chosen.batch, chosen.limit.value_or(no_limit), sizes});
  if (!of) return of.failure();
  if (auto good = suits_trace(chosen, *of); !good) return good.failure();
  std::unique_ptr<real_bytes> io;
  if (chosen.io.on) {
    auto made = make_real_bytes(chosen.io, *of, chosen.seed, chosen.quiet);
    if (!made) return made.failure();
    io = std::move(*made);
    if (auto good = io->prepare(); !good) return good.failure();
  }
  outcome<sweep> wanted = sweep{};
  if (chosen.runs()) wanted = read_sweep(chosen, *of, io.get());
  if (!wanted) return wanted.failure();
  for (const asked_capacity &capacity : wanted->capacities)
    if (const auto fit = rules_at(chosen.timing, *rules, *of, capacity); !fit) return fit.failure();
  if (auto good = write_files(chosen, *of); !good) return good.failure();
  json report = describe(chosen, *of, *rules);
  add_notes(chosen, *of, report);
  if (!chosen.runs()) return report;
  if (io != nullptr && io->about() != nullptr) report["store"] = io->about();
  auto all = run_policies(chosen, *of, *wanted, *rules, io.get(), std::move(report));
  if (all && !chosen.as_json) {
    print_results((*all)["results"], of->kind());
    if (io != nullptr) io->print((*all)["results"]);
  }
  return all;
}

/// Has anything been said that a matrix's file says, or that it has no use for?
bool says_what_a_matrix_does(const options &chosen) {
  const options usual;
  const timing_options &timing = chosen.timing;
  const bool of_trace = !chosen.trace.empty() || !chosen.with.empty() || chosen.limit ||
                        chosen.batch != usual.batch || chosen.seed != usual.seed;
  const bool of_cells = chosen.policies != usual.policies || !chosen.capacities.empty() ||
                        chosen.object_bytes != 0 || chosen.block_bytes != 0;
  const bool of_time = timing.said() || !timing.links.empty() || timing.block_compute_ns ||
                       timing.forecast != usual.timing.forecast;
  const bool of_files = !chosen.write.empty() || !chosen.write_oracle.empty() ||
                        !chosen.io.geometry.empty() || !chosen.io.tiers.empty() ||
                        !chosen.io.store.empty() || !chosen.io.store_bytes.empty();
  return of_trace || of_cells || of_time || of_files || chosen.runs();
}

int run_matrix_of(const options &chosen) {
  if (!says_what_a_matrix_does(chosen))
    return matrix_command(chosen.matrix, {chosen.threads, chosen.quiet}, chosen.as_json);
  return report_trouble(
      "replay",
      usage_trouble("--matrix says in its file what to replay, and how: leave --trace and "
                    "whatever says what is done with it out, or --matrix; --threads, --quiet and "
                    "--json go with it"),
      chosen.as_json);
}

int run(const options &chosen) {
  if (!chosen.matrix.empty()) return run_matrix_of(chosen);
  if (chosen.trace.empty())
    return report_trouble("replay",
                          usage_trouble("--trace is required: name a trace, or a --matrix of many"),
                          chosen.as_json);
  const auto report = replay_trace(chosen);
  if (!report) return report_trouble("replay", report.failure(), chosen.as_json);
  if (chosen.as_json) print_json(*report);
  if (report->contains("broken")) return exit_usage;
  return chosen.io.on && !good_bytes(*report) ? exit_bad : exit_good;
}

}  // namespace

namespace {

constexpr uint64_t compute_ns_max = 1'000'000'000'000;  // sums of it stay numbers

void add_timing_options(command &one, timing_options &chosen) {
  one.flag("--timing", chosen.on, "Model the time it takes as well");
  one.option("--link", chosen.links,
             "host:25GB/s,10us feeds the device, nvme:6GB/s,80us feeds the host");
  one.option("--compute-ns", chosen.compute_ns, "Time that one layer, or one KV block, computes")
      .between(0, compute_ns_max);
  one.option("--block-compute-ns", chosen.block_compute_ns,
             "Time that one KV block computes beside experts, whose layer --compute-ns is then")
      .between(0, compute_ns_max);
  one.option("--host-capacity", chosen.host_capacity,
             "Lockers or share in host memory (as many as in the device)");
  one.option("--block-tokens", chosen.block_tokens, "Tokens in a KV block (blocks are counted)")
      .between(1, 1 << 20);
  one.option("--lookahead", chosen.lookahead, "Fetch the next layer's experts ahead (0)")
      .between(0, 1);
  one.option("--forecast", chosen.forecast,
             "What is fetched ahead: its exact route, or what it used last (exact)")
      .one_of({"exact", "repeat"});
}

void add_io_options(command &one, io_options &chosen) {
  one.flag("--io", chosen.on, "Drive the runtime with real bytes as well");
  one.option("--geometry", chosen.geometry, "LAYERSxEXPERTSxBYTES, as 24x32x3MiB");
  one.option("--tiers", chosen.tiers,
             "host:SIZE,file:DIR: memory for lockers, and where their file is made, once");
  one.option("--store", chosen.store,
             "A folder where KV blocks are stored, and found again by the next command");
  one.option("--store-bytes", chosen.store_bytes, "What a new one takes there (enough for all)");
}

}  // namespace

void add_replay(command &program) {
  command one = program.subcommand("replay", "Run a trace through placement policies");
  auto chosen = std::make_shared<options>();
  one.flag("--simulate", chosen->simulate, "Count hits, without moving any bytes");
  one.option("--trace", chosen->trace,
             "routed_experts JSONL, Mooncake JSONL, CSV (token, layer, experts) or a recorded "
             "trace; .xz and .zst as they are")
      .not_empty();
  one.option("--matrix", chosen->matrix,
             "A file of traces, policies, capacities and links to run through, or to go on with "
             "(docs/study.md)")
      .not_empty();
  one.option("--with", chosen->with,
             "A trace of KV blocks to lay over one of experts, or the other way round")
      .not_empty();
  one.words("--policy", chosen->policies,
            "Names or libraries (LIB.so) with commas between them, or all (all)");
  one.words("--capacity", chosen->capacities,
            "Shares of the lockers there are, or numbers of them; sizes with --with "
            "(10%,25%,50%)");
  one.option("--limit", chosen->limit,
             "Read so many tokens, or requests where there are none, of the trace (all)")
      .between(1, 1ull << 40);
  one.option("--batch", chosen->batch, "Sequences decoded side by side (1)").between(1, 1024);
  one.option("--seed", chosen->seed, "For policies that throw dice (0)");
  one.option("--threads", chosen->threads, "Threads that simulate (as many as processors)")
      .between(1, 256);
  one.option("--html", chosen->html,
             "Write a page of curves and tables (capacities: ten unless said)")
      .not_empty();
  one.option("--write", chosen->write, "Write the trace in cubby's own format").not_empty();
  one.option("--write-oracle", chosen->write_oracle, "Write it as libCacheSim's oracleGeneral")
      .not_empty();
  one.option("--object-bytes", chosen->object_bytes,
             "Size of a locker (1; 1048576 with --timing, 4096 with --io)")
      .between(1, ~0u);
  one.option("--block-bytes", chosen->block_bytes,
             "Size of a KV block beside experts, whose size --object-bytes is then (1048576)")
      .between(1, ~0u);
  add_timing_options(one, chosen->timing);
  add_io_options(one, chosen->io);
  one.flag("--json", chosen->as_json, "One JSON object on stdout");
  one.flag("--quiet", chosen->quiet, "No progress");
  one.runs([chosen] {
    chosen->io.block_bytes = chosen->object_bytes;
    return run(*chosen);
  });
}

}  // namespace cubby_cli
