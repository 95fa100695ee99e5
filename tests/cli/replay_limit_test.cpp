// `cubby replay --limit`: the beginning of a trace, whatever its form.
#include <filesystem>
#include <numeric>

#include "cli/folder.hpp"
#include "cli/process.hpp"
#include "cli/replay/formats/compact.hpp"
#include "cli/replay/formats/read_trace.hpp"
#include "cli/replay/trace.hpp"

namespace replay_limit_test {

namespace {
using namespace cubby_cli;
using nlohmann::json;
using process::command;
using process::command_json;
using process::folder;

constexpr uint32_t layers = 3, tokens = 9;

/// Three sequences of three tokens; two experts in each of three layers.
std::string as_json() {
  std::string text =
      R"({"model":"m","moe_layers":3,"experts_per_layer":16,"top_k":2,"sequences":3})";
  for (uint32_t token = 0; token < tokens; ++token) {
    text += token % 3 == 0 ? "\n{\"prefill_tokens\":2,\"routed_experts\":[" : ",";
    for (uint32_t layer = 0; layer < layers; ++layer)
      text += std::string(layer == 0 ? "[[" : ",[") + std::to_string(token) + "," +
              std::to_string(9 + layer) + "]";
    text += token % 3 == 2 ? "]]}" : "]";
  }
  return text + "\n";
}

std::string as_csv() {
  std::string text = "token,layer,experts\n";
  for (uint32_t token = 0; token < tokens; ++token)
    for (uint32_t layer = 0; layer < layers; ++layer)
      text += std::to_string(token % 3) + "," + std::to_string(layer) + "," +
              std::to_string(token) + " " + std::to_string(9 + layer) + "\n";
  return text;
}

std::string as_requests() {
  std::string text;
  for (int request = 0; request < 20; ++request)
    text += "{\"timestamp\":" + std::to_string(request) + ",\"hash_ids\":[1,2," +
            std::to_string(10 + request) + "]}\n";
  return text;
}

void put(std::string &to, uint64_t value, size_t size) {
  for (size_t i = 0; i < size; ++i) to += static_cast<char>(value >> (8 * i));
}

/// A trace in the library's own format.
struct compact_bytes {
  compact_bytes() {
    put(bytes, CUBBY_TRACE_VERSION, 4);
    put(bytes, cubby_trace_check(0, bytes.data(), 12), 4);
  }
  void block(uint32_t kind, const std::string &payload) {
    std::string head;
    put(head, kind, 4);
    put(head, payload.size(), 4);
    put(head, number++, 4);
    const uint32_t check = cubby_trace_check(0, head.data(), head.size());
    put(head, cubby_trace_check(check, payload.data(), payload.size()), 4);
    bytes += head + payload;
  }
  std::string bytes = CUBBY_TRACE_MAGIC;
  uint32_t number = 0;
};

/// Is it the beginning of `whole`, `count` tokens long?
void check_beginning(const replay::trace &of, const replay::trace &whole, uint64_t count) {
  const auto &some = of.experts.chosen, &all = whole.experts.chosen;
  CHECK(of.experts.tokens() == count);
  CHECK(of.notes.empty());
  REQUIRE(some.size() <= all.size());
  CHECK(std::equal(some.begin(), some.end(), all.begin()));
  uint64_t first_token = 0;
  for (const replay::expert_sequence &one : of.experts.sequences) {
    CHECK(one.first_token == first_token);
    CHECK(one.token_count > 0);
    CHECK(one.prefill_tokens <= one.token_count);
    first_token += one.token_count;
  }
  CHECK(first_token == count);
}

}  // namespace

TEST_CASE("As many tokens as asked for are read, in every form") {
  const folder here;
  std::vector<std::string> names = {here.write("t.jsonl", as_json()), here.write("t.csv", as_csv()),
                                    here.at("t.cubbytrace")};
  REQUIRE(command("replay --trace " + names[0] + " --write " + names[2]).exit_status == 0);
  for (const std::string &name : names) {
    INFO(name);
    const auto whole = replay::read_trace(name);
    REQUIRE(whole);
    check_beginning(*whole, *whole, tokens);
    for (uint64_t limit = 1; limit <= tokens + 1; ++limit) {
      const auto some = replay::read_trace(name, limit);
      REQUIRE(some);
      check_beginning(*some, *whole, std::min<uint64_t>(limit, tokens));
    }
  }
  // What lies behind is not looked at: that is the point.
  const std::string torn = here.write("torn.jsonl", as_json() + "no JSON\n");
  CHECK(replay::read_trace(torn, tokens));
  CHECK_FALSE(replay::read_trace(torn, tokens + 1));
}

TEST_CASE("Slots side by side all end with a whole token") {
  // Two slots that take turns in each layer; of slot 3 the second token begins beyond the limit.
  compact_bytes made;
  std::string grid;
  for (const uint64_t one : {0u, layers, 16u, 1u}) put(grid, one, 4);
  made.block(CUBBY_TRACE_GRID, grid);
  for (uint32_t token = 0; token < 4; ++token) {
    std::string visits;
    for (uint32_t layer = 0; layer < layers; ++layer)
      for (const uint32_t slot : {0u, 3u}) {
        const uint32_t head = layer * 4 + (token == 0 && layer == 0 ? 1 : 0);
        for (const uint32_t one : {head, slot, token, 1u, token + slot}) put(visits, one, 1);
      }
    made.block(CUBBY_TRACE_VISITS, visits);
  }
  const folder here;
  const std::string name = here.write("t.cubbytrace", made.bytes);
  REQUIRE(replay::read_trace(name));
  const auto some = replay::read_trace(name, 3);
  REQUIRE(some);
  CHECK(some->notes.empty());
  REQUIRE(some->experts.sequences.size() == 2);
  CHECK(some->experts.sequences[0].token_count == 2);
  CHECK(some->experts.sequences[1].token_count == 1);
  for (uint32_t layer = 0; layer < layers; ++layer) {
    CHECK(some->experts.at(1, layer)[0] == 1);
    CHECK(some->experts.at(2, layer)[0] == 3);
  }
}

TEST_CASE("--limit as people use it") {
  const folder here;
  const std::string experts = here.write("t.jsonl", as_json());
  const json all = command_json("replay --simulate --policy lru --trace " + experts, 0);
  CHECK(all["tokens"] == tokens);
  CHECK_FALSE(all.contains("limit"));
  const json some = command_json("replay --simulate --policy lru --limit 4 --trace " + experts, 0);
  CHECK(some["tokens"] == 4);
  CHECK(some["limit"] == 4);
  CHECK(some["accesses"] == 4 * layers * 2);
  const json real = command_json(
      "replay --io --policy lru --limit 4 --capacity 50% --geometry "
      "3x16x4096 --tiers host:1m,file:" +
          here.path.string() + " --trace " + experts,
      0);
  CHECK(real["results"][0]["equal"] == true);
  CHECK(real["accesses"] == 4 * layers * 2);

  const std::string blocks = here.write("kv.jsonl", as_requests());
  const json requests = command_json(
      "replay --timing --compute-ns 5 --link host:1GB/s --policy "
      "lru --limit 7 --trace " +
          blocks + " --write " + here.at("cut.cubbytrace"),
      0);
  CHECK(requests["requests"] == 7);
  CHECK(requests["unique"] == 2 + 7);
  CHECK(requests["results"][0]["requests"] == 7);
  const json again =
      command_json("replay --simulate --policy lru --trace " + here.at("cut.cubbytrace"), 0);
  CHECK(again["requests"] == 7);
  CHECK(again["unique"] == 2 + 7);
  for (const char *bad : {"0", "-1", "many"})
    CHECK(command("replay --simulate --trace " + blocks + " --limit " + bad).exit_status == 2);
}

}  // namespace replay_limit_test
