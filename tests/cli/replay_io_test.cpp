// `cubby replay --io`: the runtime does as simulated, with real bytes, and says why it cannot.
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/prng.hpp"
#include "cli/folder.hpp"
#include "cli/process.hpp"

namespace replay_io_test {

namespace {
using nlohmann::json;
using process::command;
using process::folder;

json command_json(const std::string &line) { return process::command_json(line, 0); }

constexpr uint32_t layers = 6, experts = 16, top_k = 3;

/// Some experts are liked more than others, and which ones changes now and then.
std::string make_trace(const folder &here, uint32_t tokens, uint32_t a_sequence = ~0u) {
  std::ofstream out(here.at("t.csv"));
  out << "token,layer,experts\n";
  cubby::base::prng random(11);
  for (uint32_t token = 0; token < tokens; ++token) {
    for (uint32_t layer = 0; layer < layers; ++layer) {
      out << token % a_sequence << ',' << layer << ',';
      uint32_t seen = 0;
      for (uint32_t chosen = 0; chosen < top_k;) {
        const auto liked = std::min(random.below(experts), random.below(experts));
        const auto expert = static_cast<uint32_t>(liked + token / 50 + layer) % experts;
        if ((seen >> expert & 1) != 0) continue;
        seen |= 1U << expert;
        out << (chosen++ == 0 ? "" : " ") << expert;
      }
      out << '\n';
    }
  }
  return here.at("t.csv");
}

std::string io_line(const folder &here, const std::string &trace, const std::string &host) {
  return "replay --io --geometry 6x16x20000 --tiers host:" + host + ",file:" + here.path.string() +
         " --quiet --json --trace " + trace;
}

std::string text_of(const std::string &path) {
  std::ifstream in(path);
  std::stringstream all;
  all << in.rdbuf();
  return all.str();
}

}  // namespace

TEST_CASE("the runtime's hits are the simulation's, to the unit, for every policy") {
  const folder here;
  const std::string trace = make_trace(here, 200);
  const json all =
      command_json(io_line(here, trace, "64MiB") + " --policy all --capacity 10%,25%,60%");
  CHECK(all.at("results").size() >= 3 * 11);
  for (const json &one : all.at("results")) {
    INFO(one.dump());
    CHECK(one.at("hits") == one.at("simulated_hits"));
    CHECK(one.at("equal") == true);
    CHECK(one.at("io").at("read_bytes") ==
          20000 * (all.at("accesses").get<uint64_t>() - one.at("hits").get<uint64_t>()));
    CHECK(one.at("io").at("tokens_per_s") > 0.0);
    CHECK(one.at("io").at("predicted_tokens_per_s") > 0.0);
  }
}

TEST_CASE("a batch larger than there are sequences has no more slots than those") {
  const folder here;
  const std::string trace = make_trace(here, 200);
  const json report = command_json(io_line(here, trace, "64MiB") +
                                   " --policy moe,mixed --capacity 25%,60% --batch 4");
  for (const json &one : report.at("results")) {
    INFO(one.dump());
    CHECK(one.at("equal") == true);
  }
}

TEST_CASE("a batch learns from each of its sequences") {
  const folder here;
  std::ofstream out(here.at("t.jsonl"));
  out << R"({"model":"m","moe_layers":2,"experts_per_layer":16,"top_k":2,"sequences":12})" << '\n';
  cubby::base::prng random(5);
  for (int sequence = 0; sequence < 12; ++sequence) {
    out << "{\"sequence\":" << sequence << ",\"prefill_tokens\":0,\"routed_experts\":[";
    for (int token = 0; token < 60; ++token) {
      const auto first = random.below(8);
      const auto second = 8 + (first + random.below(2)) % 8;
      out << (token == 0 ? "" : ",") << "[[" << first << "," << second << "],[" << 15 - first << ","
          << 15 - second << "]]";
    }
    out << "]}\n";
  }
  out.close();
  for (const char *batch : {"2", "4"}) {
    const json all = command_json(
        "replay --io --geometry 2x16x20000 --tiers host:64MiB,file:" + here.path.string() +
        " --quiet --json --trace " + here.at("t.jsonl") +
        " --policy lru,lfu,moe --capacity 75% --batch " + batch);
    for (const json &one : all.at("results")) {
      INFO(one.dump());
      CHECK(one.at("equal") == true);
      CHECK(one.at("hits") > 0);
    }
  }
}

TEST_CASE("the runtime's victims are the simulation's, in the same order") {
  const folder here;
  const std::string trace = make_trace(here, 200);
  for (const std::string policy : {"lru", "lfu", "moe", "arc"}) {
    const std::string record = here.at(policy);
    setenv("CUBBY_RECORDED", policy.c_str(), 1);
    setenv("CUBBY_RECORD", record.c_str(), 1);
    const json all = command_json(io_line(here, trace, "64MiB") + " --capacity 25% --policy " +
                                  CUBBY_RECORDING_POLICY);
    CHECK(all.at("results").at(0).at("equal") == true);
    // The first instance is the simulation's; the runtime's is the other one that was used. A third
    // one serves the prediction.
    std::vector<std::string> records;
    for (int i = 0; std::filesystem::exists(record + "." + std::to_string(i)); ++i) {
      std::string text = text_of(record + "." + std::to_string(i));
      if (!text.empty()) records.push_back(std::move(text));
    }
    INFO(policy);
    REQUIRE(records.size() == 3);
    CHECK(records[0].find("out ") != std::string::npos);
    CHECK(records[1] == records[0]);
  }
}

TEST_CASE("without a capacity as many lockers are admitted as the memory holds") {
  const folder here;
  const std::string trace = make_trace(here, 30);
  // A locker of 20,000 bytes takes five pages; moe reserves three more for probation.
  const json all = command_json(io_line(here, trace, "400k") + " --policy lru");
  CHECK(all.at("results").at(0).at("capacity_lockers") == 20);
  const json ours = command_json(io_line(here, trace, "400k") + " --policy moe");
  CHECK(ours.at("results").at(0).at("capacity_lockers") == 17);
}

TEST_CASE("people see what was measured beside what was foreseen, policy by policy") {
  const folder here;
  const auto said =
      command("replay --io --geometry 6x16x20000 --tiers host:1TiB,file:" + here.path.string() +
              " --quiet --policy lru,moe --capacity 25% " + "--trace " + make_trace(here, 30));
  INFO(said.text);
  CHECK(said.exit_status == 0);
  const size_t table = said.text.find("real bytes");
  REQUIRE(table != std::string::npos);
  for (const char *head : {"tokens/s", "predicted", "read", "hits as simulated"})
    CHECK(said.text.find(head, table) != std::string::npos);
  for (const char *policy : {"\nlru ", "\nmoe "}) {
    const size_t line = said.text.find(policy, table);
    REQUIRE(line != std::string::npos);
    CHECK(said.text.substr(line + 1, said.text.find('\n', line + 1) - line - 1).ends_with("yes"));
  }
}

TEST_CASE("--io says what is wrong") {
  const folder here;
  const std::string trace = make_trace(here, 8, 2);
  const std::string place = ",file:" + here.path.string();
  const auto refused = [&](const std::string &options, const std::string &word) {
    const auto said = command("replay --io --quiet --trace " + trace + " " + options + " 2>&1");
    INFO(said.text);
    CHECK(said.exit_status == 2);
    CHECK(said.text.find(word) != std::string::npos);
  };
  refused("", "--io needs --geometry LAYERSxEXPERTSxBYTES");
  refused("--geometry 6x16x20000 --tiers host:1m,file:/no/such/folder", "is no folder");
  refused("--geometry 6x16x20000", "--tiers host:SIZE,file:DIR");
  refused("--geometry 6x15x20000 --tiers host:1m" + place, "6 layers of 16 experts");
  refused("--geometry 6x16x0 --tiers host:1m" + place, "from 1 byte");
  refused("--geometry 6x16x20000 --tiers hbm:1m" + place, "neither host:SIZE");
  refused("--geometry 6x16x20000 --tiers host:1m" + place + " --batch 4 --capacity 4 --policy lru",
          "12 lockers at once");
  refused("--geometry 6x16x20000 --tiers host:1m" + place + " --policy belady", "needs the future");
  refused("--geometry 6x16x20000 --tiers host:100k" + place + " --policy lru --capacity 50%",
          "raise host:SIZE");
}

}  // namespace replay_io_test
