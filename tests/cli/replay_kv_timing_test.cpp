// `cubby replay --timing` over KV traces: small cases reckoned by hand, and what must hold of any.
#include <filesystem>
#include <fstream>
#include <random>

#include "cli/folder.hpp"
#include "cli/process.hpp"
#include "cli/replay/timing/kv_timing.hpp"

namespace replay_kv_timing_test {

namespace {
using namespace cubby_cli;
using namespace cubby_cli::replay;
using nlohmann::json;
using process::command;
using process::command_json;
using process::folder;

struct request {
  uint64_t at_ns;
  std::vector<uint32_t> blocks;
};

kv_trace trace_of(const std::vector<request> &requests) {
  kv_trace made;
  for (const request &one : requests) {
    made.requests.push_back(
        {one.at_ns, made.blocks.size(), static_cast<uint32_t>(one.blocks.size())});
    for (const uint32_t block : one.blocks) {
      made.blocks.push_back(block);
      made.unique = std::max(made.unique, block + 1);
    }
  }
  return made;
}

/// A block moves in 1000 ns to the device and in 2000 from the file; latencies 500 and 3000.
timing_rules rules_of(uint64_t compute_ns) {
  timing_rules made;
  made.host = {"host", 1e9, 500};
  made.compute_ns = compute_ns;
  made.object_bytes = 1000;
  return made;
}
timing_rules rules_of(uint64_t compute_ns, uint32_t host_capacity, bool has_file) {
  timing_rules made = rules_of(compute_ns);
  made.host_has_all = false;
  made.host_capacity = host_capacity;
  if (has_file) made.nvme = {"nvme", 5e8, 3000};
  return made;
}

json timed(const kv_trace &of, uint32_t capacity, const timing_rules &rules,
           const char *policy = "lru") {
  kv_timing clock(of, rules);
  simulation how;
  how.policy = cubby_policy_find(policy);
  how.capacity = capacity;
  how.watchers = {&clock};
  const request_schedule made = make_requests(of);
  REQUIRE(simulate({.requests = &made}, how));
  return clock.report();
}

json blocks_of(uint64_t device, uint64_t host, uint64_t nvme, uint64_t fresh, uint64_t recomputed,
               uint64_t by_choice) {
  return {{"device", device},
          {"host", host},
          {"nvme", nvme},
          {"fresh", fresh},
          {"recomputed", recomputed},
          {"recomputed_by_choice", by_choice}};
}

}  // namespace

TEST_CASE("A request loads what lies below the device and computes the rest") {
  // Two places: of the first request block 2 goes down, of the second 1 and 0 as well, once each.
  const kv_trace of = trace_of({{0, {0, 1, 2}}, {0, {0, 1, 2}}, {0, {0, 3}}});
  const json report = timed(of, 2, rules_of(10000));
  // Three blocks computed; one loaded, 1000 + 500; one computed.
  CHECK(report["time_ns"] == 30000 + 1500 + 10000);
  CHECK(report["busy_ns"] == 41500);
  CHECK(report["requests"] == 3);
  CHECK(report["blocks_per_s"] == Approx(8e9 / 41500));
  CHECK(report["blocks"] == blocks_of(3, 1, 0, 4, 0, 0));
  CHECK(report["first_token"]["p50_ns"] == 10000);
  CHECK(report["first_token"]["p99_ns"] == 30000);
  CHECK(report["queued"]["p99_ns"] == 0);
  CHECK(report["stall"]["p99_ns"] == 1500);
  CHECK(report["stall"]["mean_ns"] == 500);
  CHECK(report["stall"]["share"] == Approx(1500.0 / 41500));
  CHECK(report["stall"]["by_cause"]["host"]["p99_ns"] == 1500);
  CHECK(report["stall"]["by_cause"]["recompute"]["p99_ns"] == 0);
  CHECK(report["bytes_by_cause"] ==
        json({{"demand", 1000}, {"write_back", 3000}, {"file_write", 0}}));
  CHECK(report["bytes_by_link"] == json({{"host", 1000}, {"nvme", 0}}));
  CHECK_FALSE(report.contains("tokens_per_s"));
  timing_rules rules = rules_of(10000);
  rules.block_tokens = 16;
  CHECK(timed(of, 2, rules)["tokens"] == 8 * 16);
  kv_trace telling = of;
  telling.tokens = 100;
  CHECK(timed(telling, 2, rules_of(10000))["tokens_per_s"] == Approx(100e9 / 41500));
  CHECK(timed(of, 2, rules)["tokens_per_s"] == Approx(16 * 8e9 / 41500));
}

TEST_CASE("A block that is computed sooner than loaded is computed") {
  const kv_trace of = trace_of({{0, {0, 1, 2}}, {0, {0, 1, 2}}});
  const json report = timed(of, 2, rules_of(1499));
  CHECK(report["time_ns"] == 4 * 1499);
  CHECK(report["blocks"] == blocks_of(2, 0, 0, 3, 1, 1));
  CHECK(report["stall"]["by_cause"]["recompute"]["p99_ns"] == 1499);
  CHECK(report["bytes_by_cause"]["demand"] == 0);
  // As soon either way: loaded, which leaves the processor free.
  CHECK(timed(of, 2, rules_of(1500))["blocks"] == blocks_of(2, 1, 0, 3, 0, 0));
  // Bytes come one after the other, latencies at once: of four the first three come at 1500, 2500
  // and 3500, all four at 4500; computing takes 1200 each. 4500 < 3500 + 1200.
  const kv_trace longer = trace_of({{0, {0, 1, 2, 3}}, {0, {4}}, {0, {0, 1, 2, 3}}});
  const json all = timed(longer, 1, rules_of(1200));
  CHECK(all["blocks"] == blocks_of(0, 4, 0, 5, 0, 0));
  CHECK(all["time_ns"] == 5 * 1200 + 4500);
  // 900 each: four computed take 3600, less than any mix.
  CHECK(timed(longer, 1, rules_of(900))["blocks"] == blocks_of(0, 0, 0, 5, 4, 4));
}

TEST_CASE("Loads of a request overlap the computing of the one before") {
  // Times count from the first request; one place in the device.
  const kv_trace of = trace_of({{7000000, {0}}, {7020000, {1}}, {7022000, {0, 2}}, {7022000, {1}}});
  const json report = timed(of, 1, rules_of(10000));
  // 0 to 10000; 20000 to 30000; block 0 is there at 23500, so 30000 to 40000; block 1 is asked for
  // when that computing begins, and is there at 31500: the last one is through at 40000 too.
  CHECK(report["time_ns"] == 40000);
  CHECK(report["busy_ns"] == 30000);
  CHECK(report["load"] == Approx(30000.0 / 22000));
  CHECK(report["stall"]["p99_ns"] == 0);
  CHECK(report["queued"]["p99_ns"] == 18000);
  CHECK(report["queued"]["mean_ns"] == (8000 + 18000) / 4.0);
  CHECK(report["first_token"]["p50_ns"] == 10000);
  CHECK(report["first_token"]["mean_ns"] == (10000 + 10000 + 18000 + 18000) / 4.0);
  CHECK(report["blocks"] == blocks_of(0, 2, 0, 3, 0, 0));
}

TEST_CASE("The file has what host memory gave up; without one it is computed anew") {
  const kv_trace of = trace_of({{0, {0}}, {0, {1}}, {0, {2}}, {0, {0}}, {0, {0}}});
  const json report = timed(of, 1, rules_of(100000, 1, true));
  // From the file 2000 + 3000, then to the device 1000 + 500.
  CHECK(report["time_ns"] == 3 * 100000 + 6500);
  CHECK(report["blocks"] == blocks_of(1, 0, 1, 3, 0, 0));
  CHECK(report["stall"]["by_cause"]["nvme"]["p99_ns"] == 5000);
  CHECK(report["stall"]["by_cause"]["host"]["p99_ns"] == 1500);
  // 0 and 1 went through the host into the file, 2 is in the host.
  CHECK(report["bytes_by_cause"] ==
        json({{"demand", 1000}, {"write_back", 3000}, {"file_write", 2000}}));
  CHECK(report["bytes_by_link"] == json({{"host", 1000}, {"nvme", 1000}}));
  CHECK(report["host_capacity_lockers"] == 1);

  const json lost = timed(of, 1, rules_of(100000, 1, false));
  CHECK(lost["time_ns"] == 4 * 100000);
  CHECK(lost["blocks"] == blocks_of(1, 0, 0, 3, 1, 0));
  CHECK(lost["bytes_by_cause"]["file_write"] == 0);
  const json nothing_below = timed(of, 1, rules_of(100000, 0, false));
  CHECK(nothing_below["bytes_by_cause"]["write_back"] == 0);
  const json straight = timed(of, 1, rules_of(100000, 0, true));
  CHECK(straight["bytes_by_cause"]["write_back"] == 3000);
  CHECK(straight["bytes_by_cause"]["file_write"] == 3000);
}

TEST_CASE("Behind a block that nobody has all is computed") {
  // One place each in device and host: of the first request 0 and 1 are left.
  const kv_trace of = trace_of({{0, {0, 1, 2}}, {0, {0, 1, 2}}, {0, {2, 0}}});
  const json report = timed(of, 1, rules_of(10000, 1, false));
  CHECK(report["blocks"] == blocks_of(1, 1, 0, 3, 3, 0));
  CHECK(report["time_ns"] == 30000 + (1500 + 10000) + 20000);
}

namespace {

std::string made_up(uint32_t requests, uint32_t step_ms) {
  std::mt19937 dice(3);
  std::string text;
  for (uint32_t request = 0; request < requests; ++request) {
    const auto prefix = dice() % 9;
    text += "{\"timestamp\":" + std::to_string(request * step_ms) + ",\"hash_ids\":[";
    for (uint64_t i = 0; i < 4 + prefix; ++i) text += std::to_string(prefix * 100 + i) + ",";
    text += std::to_string(10000 + dice() % 90) + "]}\n";
  }
  return text;
}

json without_cost(json report) {
  for (json &one : report["results"]) one.erase("ns_per_visit");
  return report;
}

}  // namespace

TEST_CASE("replay --timing of KV blocks as people run it") {
  const folder here;
  for (const uint32_t step_ms : {0u, 7u}) {
    const std::string line =
        "replay --timing --trace " + here.write("t.jsonl", made_up(400, step_ms)) +
        " --policy all --capacity 10%,40% --object-bytes 2097152 --compute-ns 2000000 --link "
        "host:20GB/s,10us --link nvme:2GB/s,90us --host-capacity 20% --block-tokens 64";
    const json report = command_json(line, 0);
    CHECK(without_cost(report) == without_cost(command_json(line, 0)));
    for (const json &one : report["results"]) {
      INFO(one.dump());
      const json &blocks = one["blocks"];
      uint64_t all = 0;
      for (const char *source : {"device", "host", "nvme", "fresh", "recomputed"})
        all += blocks[source].get<uint64_t>();
      CHECK(all == report["accesses"]);
      CHECK(blocks["fresh"] == report["unique"]);
      CHECK(blocks["recomputed_by_choice"] <= blocks["recomputed"]);
      CHECK(blocks["device"] >= one["hits"]);
      CHECK(one["requests"] == 400);
      CHECK(one["tokens"] == 64 * report["accesses"].get<uint64_t>());
      CHECK(one["bytes_by_link"]["host"] == one["bytes_by_cause"]["demand"]);
      const auto computed = blocks["fresh"].get<double>() + blocks["recomputed"].get<double>();
      CHECK(one["busy_ns"].get<double>() >= 2e6 * computed);
      CHECK(one["time_ns"] >= one["busy_ns"]);
      CHECK(one["load"].is_null() == (step_ms == 0));
      if (step_ms == 0) CHECK(one["queued"]["p99_ns"] == 0);
      if (step_ms == 0) CHECK(one["time_ns"] == one["busy_ns"]);
    }
  }
}

TEST_CASE("replay --timing of KV blocks says what does not suit them") {
  const folder here;
  const std::string base = "replay --timing --compute-ns 5 --link host:1GB/s,1us --policy lru";
  const std::string blocks = here.write("kv.jsonl", made_up(20, 1));
  const auto refused = [&](const std::string &more, const std::string &said) {
    const auto ran = command(base + " " + more);
    INFO(ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find(said) != std::string::npos);
  };
  refused("--lookahead 1 --trace " + blocks, "--lookahead is for traces of experts");
  refused("--host-capacity 900 --trace " + blocks, "more than all");
  refused("--block-tokens 0 --trace " + blocks, "block-tokens");
  refused("--block-tokens 16 --trace " + here.write("t.csv", "0,0,1\n"),
          "--block-tokens is for traces of KV blocks");
  refused("--io --geometry 1x1x4096 --tiers host:1m,file:/tmp --trace " + blocks,
          "KV blocks need --store DIR");
  // Some blocks each millisecond, of 1 ms each.
  const json busy = command_json(
      "replay --timing --compute-ns 1000000 --link host:1GB/s,1us "
      "--policy lru --capacity 50% --trace " +
          blocks,
      0);
  CHECK(busy["notes"][0].get<std::string>().find("more work than time") != std::string::npos);
  // What a small host gives up is computed anew, so no file is needed.
  CHECK(command(base + " --host-capacity 3 --trace " + blocks).exit_status == 0);
}

}  // namespace replay_kv_timing_test
