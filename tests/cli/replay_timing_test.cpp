// `cubby replay --timing`: small cases reckoned by hand, and what must hold of any.
#include "cli/replay/timing/timing.hpp"

#include <filesystem>
#include <fstream>

#include "cli/process.hpp"

namespace replay_timing_test {

namespace {
using namespace cubby_cli;
using namespace cubby_cli::replay;
using nlohmann::json;
using process::command;
using process::command_json;

/// Tokens of `layers` layers; the experts of each layer of each token.
expert_trace trace_of(uint32_t layers, uint32_t experts, uint32_t top_k,
                      const std::vector<uint16_t> &chosen) {
  expert_trace made;
  made.layers = layers;
  made.experts = experts;
  made.top_k = top_k;
  made.chosen = chosen;
  made.sequences.push_back({0, static_cast<uint32_t>(made.tokens()), 0});
  return made;
}

/// A byte a nanosecond to the device, half that from the file.
timing_rules rules_of(uint64_t compute_ns) {
  timing_rules made;
  made.host = {"host", 1e9, 500};
  made.nvme = {"nvme", 5e8, 3000};
  made.compute_ns = compute_ns;
  made.object_bytes = 1000;
  return made;
}

json timed(const expert_trace &of, uint32_t capacity, const timing_rules &rules,
           const char *policy = "lru") {
  const expert_schedule made = make_schedule(of, 1);
  timing clock(made, rules);
  simulation how;
  how.policy = cubby_policy_find(policy);
  how.capacity = capacity;
  how.watchers = {&clock};
  REQUIRE(simulate({.visits = &made}, how));
  return clock.report();
}

}  // namespace

TEST_CASE("Moves from the host, one layer after the other") {
  // Two layers, one expert each, all of it fits: the first token misses, the second does not.
  const expert_trace of = trace_of(2, 2, 1, {0, 0, 0, 0});
  const json plain = timed(of, 4, rules_of(2000));
  // 2 × (1000 to move + 500 on the way + 2000 to compute), then 2 × 2000.
  CHECK(plain["time_ns"] == 11000);
  CHECK(plain["tokens"] == 2);
  CHECK(plain["tokens_per_s"] == Approx(2e9 / 11000));
  CHECK(plain["stall"]["p50_ns"] == 0);
  CHECK(plain["stall"]["p99_ns"] == 3000);
  CHECK(plain["stall"]["mean_ns"] == 1500);
  CHECK(plain["stall"]["by_cause"]["host"]["p99_ns"] == 3000);
  CHECK(plain["stall"]["by_cause"]["nvme"]["p99_ns"] == 0);
  CHECK(
      plain["bytes_by_cause"] ==
      json({{"demand", 2000}, {"useful_prefetch", 0}, {"wasted_prefetch", 0}, {"write_back", 0}}));

  timing_rules rules = rules_of(2000);
  rules.ahead = forecast::exact;
  const json ahead = timed(of, 4, rules);
  // The second layer's expert moves from 1000 to 2000, is there at 2500; needed at 3500.
  CHECK(ahead["time_ns"] == 9500);
  CHECK(ahead["stall"]["p99_ns"] == 1500);
  CHECK(ahead["bytes_by_cause"]["demand"] == 1000);
  CHECK(ahead["bytes_by_cause"]["useful_prefetch"] == 1000);
}

TEST_CASE("Two links in a row, with their queues") {
  timing_rules rules = rules_of(1000);
  rules.host_has_all = false;
  // Both from the file: nvme 0–2000 and 2000–4000, there at 5000 and 7000; to the device 5000–6000
  // and 7000–8000, there at 6500 and 8500. Half a layer each: until 7000, and from 8500 to 9000.
  const json all = timed(trace_of(1, 4, 2, {0, 1}), 4, rules);
  CHECK(all["time_ns"] == 9000);
  CHECK(all["stall"]["p50_ns"] == 8000);
  CHECK(all["stall"]["by_cause"]["nvme"]["p50_ns"] == 5000);
  CHECK(all["stall"]["by_cause"]["host"]["p50_ns"] == 3000);
  CHECK(all["stall"]["by_cause"]["nvme_queue"]["p50_ns"] == 0);
  CHECK(all["bytes_by_link"] == json({{"host", 2000}, {"nvme", 2000}}));

  // From the host alone and without compute the second waits for the first's bytes to pass.
  rules = rules_of(0);
  const json queued = timed(trace_of(1, 4, 2, {0, 1}), 4, rules);
  CHECK(queued["time_ns"] == 2500);
  // 1500 for the first; of the second's last 1000 its own move is from 1000 on.
  CHECK(queued["stall"]["by_cause"]["host"]["p50_ns"] == 2500);

  // The third begins at 2000; between the arrivals at 1500 and 2500 nothing is queued any more.
  rules.host.latency_ns = 0;
  rules.compute_ns = 0;
  const json three = timed(trace_of(1, 4, 3, {0, 1, 2}), 4, rules);
  CHECK(three["time_ns"] == 3000);
  CHECK(three["stall"]["by_cause"]["host_queue"]["p50_ns"] == 0);
}

TEST_CASE("What leaves the device stays in the host tier, and comes back from there") {
  timing_rules rules = rules_of(0);
  rules.host_has_all = false;
  rules.host_capacity = 1;
  // One place in the device, one in the host: 0 and 1 take turns; after the first round neither
  // comes from the file.
  const json all = timed(trace_of(1, 4, 1, {0, 1, 0, 1, 0}), 1, rules);
  CHECK(all["bytes_by_link"] == json({{"host", 5000}, {"nvme", 2000}}));
  CHECK(all["bytes_by_cause"]["write_back"] == 4000);
  CHECK(all["time_ns"] == 2 * (2000 + 3000 + 1500) + 3 * 1500);
  rules.host_capacity = 0;
  const json none = timed(trace_of(1, 4, 1, {0, 1, 0, 1, 0}), 1, rules);
  CHECK(none["bytes_by_link"]["nvme"] == 5000);
  CHECK(none["bytes_by_cause"]["write_back"] == 0);
}

TEST_CASE("A forecast that is wrong wastes what it fetched") {
  timing_rules rules = rules_of(5000);
  rules.ahead = forecast::repeat;
  // Three layers, one place. The second token is the first again but for the layer in the middle:
  // what that used last comes in vain, the others' come in time.
  const json all = timed(trace_of(3, 2, 1, {0, 0, 0, 0, 1, 0}), 1, rules);
  CHECK(all["bytes_by_cause"] == json({{"demand", 4000},
                                       {"useful_prefetch", 2000},
                                       {"wasted_prefetch", 1000},
                                       {"write_back", 0}}));
  CHECK(all["bytes_by_link"]["host"] == 7000);
  // Four waits of 1500: what comes in vain has left the link long before the layer begins.
  CHECK(all["time_ns"] == 6 * 5000 + 4 * 1500);
}

TEST_CASE("replay --timing as people run it") {
  const std::string name =
      (std::filesystem::temp_directory_path() / ("cubby_timing_" + std::to_string(getpid())))
          .string();
  std::ofstream(name) << "{\"routed_experts\":[[[0,1],[2,3]],[[4,5],[6,7]],[[0,1],[2,3]]]}\n";
  const std::string base =
      "replay --timing --trace " + name + " --policy lru,belady --capacity 50%";
  const json all = command_json(
      base +
          " --link host:25GB/s,10us --link nvme:6GB/s,80us --compute-ns 50000 --object-bytes "
          "4194304 --host-capacity 25% --lookahead 1",
      0);
  REQUIRE(all["results"].size() == 2);
  for (const json &one : all["results"]) {
    for (const char *field : {"hits", "hit_ratio", "tokens_per_s", "stall", "bytes_by_cause"})
      CHECK(one.contains(field));
    CHECK(one["tokens"] == 3);
    CHECK(one["host_capacity_lockers"] == 4);
    const uint64_t misses = all["accesses"].get<uint64_t>() - one["hits"].get<uint64_t>();
    const json &bytes = one["bytes_by_cause"];
    CHECK(bytes["demand"].get<uint64_t>() + bytes["useful_prefetch"].get<uint64_t>() ==
          misses * 4194304);
    CHECK(one["time_ns"].get<double>() >= 3 * 2 * 50000);
  }
  const auto refused = [&](const std::string &more, const std::string &said) {
    const auto ran = command(base + " " + more);
    INFO(ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find(said) != std::string::npos);
  };
  refused("--link host:25GB/s,10us", "--compute-ns");
  refused("--compute-ns 5", "--link host");
  refused("--compute-ns 5 --link host:fast", "speed");
  refused("--compute-ns 5 --link host:1GB/s,soon", "latency");
  refused("--compute-ns 5 --link disk:1GB/s,1us", "host and nvme alone");
  refused("--compute-ns 5 --link 1GB/s", "no name");
  refused("--compute-ns 5 --link host:1GB/s --link host:2GB/s", "given twice");
  refused("--compute-ns 5 --link host:1GB/s,1us --host-capacity 10%", "--link nvme");
  refused("--compute-ns 5 --link host:1GB/s --link nvme:1GB/s --host-capacity 900",
          "more than all");
  std::filesystem::remove(name);
}

}  // namespace replay_timing_test
