// `cubby replay --html`: a page that stands alone and says what --json says.
#include <filesystem>
#include <fstream>

#include "cli/folder.hpp"
#include "cli/made_up_traces.hpp"
#include "cli/process.hpp"

namespace replay_page_test {

namespace {
using nlohmann::json;
using process::command;
using process::command_json;
using process::folder;

std::string experts_trace() {
  return made_up_experts(200, [](int layer) { return layer + 1; });
}

/// Runs it with --json and --html, and lets the checker compare the two.
json checked(const folder &here, const std::string &arguments) {
  const std::string page = here.at("page.html");
  const json report = command_json("replay " + arguments + " --html " + page, 0);
  const auto judged = process::shell(CUBBY_CHECK_PAGE " " + page + " " +
                                     here.write("report.json", report.dump()) + " 2>&1");
  INFO(judged.text);
  CHECK(judged.exit_status == 0);
  return report;
}

}  // namespace

TEST_CASE("The page of experts is what --json says") {
  const folder here;
  const std::string trace = here.write("a&b<c>\"{{data}}.csv", experts_trace());
  const json report = checked(here, "--trace '" + trace + "' --policy lru,moe,sieve,belady");
  // The page's own capacities; 2 % of 48 lockers is less than a layer of a token needs.
  CHECK(report["results"].size() >= 8 * 4);
  CHECK(report["lockers"] == 48);
  REQUIRE(report["details"]["policies"].size() == 4);
  CHECK(report["details"]["capacity"] == "25%");
  for (const json &one : report["details"]["policies"]) {
    uint64_t uses = 0, hits = 0;
    for (const json &place : one["places"]) {
      uses += place["uses"].get<uint64_t>();
      hits += place["hits"].get<uint64_t>();
    }
    CHECK(one["places"].size() == 4);
    CHECK(uses == report["accesses"]);
    for (const json &result : report["results"])
      if (result["policy"] == one["policy"] && result["capacity"] == "25%")
        CHECK(hits == result["hits"]);
    const json &early = one["evicted_too_early"];
    CHECK(early["within"] == 4);
    CHECK(early["count"] <= early["evictions"]);
    CHECK(early["top"].size() <= 10);
  }
}

TEST_CASE("The page shows the stall too, and KV blocks") {
  const folder here;
  const json timed = checked(
      here, "--trace " + here.write("t.csv", experts_trace()) +
                " --policy lru,belady --capacity 10%,25%,50% --timing --compute-ns 1000 --link "
                "host:1GB/s,1us --link nvme:500MB/s,20us");
  CHECK(timed["results"][0].contains("tokens_per_s"));
  const json blocks =
      checked(here, "--trace " + here.write("t.jsonl", made_up_blocks(300)) + " --policy all");
  CHECK(blocks["details"]["policies"][0]["places"][0].contains("depth"));
  for (const char *more : {"", " --block-tokens 16"})
    checked(here, "--trace " + here.at("t.jsonl") +
                      " --policy lru,kv,belady --capacity 5%,25%,60% --timing --compute-ns 900000 "
                      "--link host:1GB/s,1us --link nvme:500MB/s,20us" +
                      more);
}

TEST_CASE("The page of experts and KV blocks in one tier shows waiting, and who holds what") {
  const folder here;
  const std::string both = "--trace " + here.write("t.csv", experts_trace()) + " --with " +
                           here.write("t.jsonl", made_up_blocks(300)) +
                           " --link host:1GB/s,1us --object-bytes 40000 --block-bytes 10000";
  const json report = checked(here, both + " --policy all");
  CHECK(report["details"]["capacity"] == "25%");
  const json timed = checked(here, both +
                                       " --policy mixed,lru --capacity 10%,50% --timing "
                                       "--compute-ns 1000 --block-compute-ns 8000");
  CHECK(timed["details"]["capacity"] == "10%");
}

TEST_CASE("Evicted too early is what comes back within a token cycle") {
  const folder here;
  // One layer, two places. 0 and 1 stay in turns with 2 and 3: under LRU each token evicts one that
  // was used two tokens ago and is used in two; a cycle is one visit.
  std::string text;
  for (int token = 0; token < 9; ++token)
    text += std::to_string(token) + ",0," + std::to_string(token % 3) + "\n";
  const json report =
      checked(here, "--trace " + here.write("t.csv", text) + " --policy lru --capacity 2");
  // 0, 1 fill it; 2 evicts 0, which is missing one visit later, and so on: seven evictions, of
  // which the last has no visit behind it.
  const json &early = report["details"]["policies"][0]["evicted_too_early"];
  CHECK(early["evictions"] == 7);
  CHECK(early["count"] == 6);
  CHECK(early["top"][0] == json({{"layer", 0}, {"expert", 0}, {"count", 2}}));
}

TEST_CASE("A page that cannot be written is reported") {
  const folder here;
  const auto ran = command("replay --trace " + here.write("t.csv", experts_trace()) +
                           " --policy lru --html " + here.at("no/such/folder.html"));
  CHECK(ran.exit_status == 2);
  CHECK(ran.text.find("is missing; make it first") != std::string::npos);
}

}  // namespace replay_page_test
