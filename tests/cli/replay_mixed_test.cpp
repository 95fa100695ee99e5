// `cubby replay` of experts and KV blocks in one tier: how two traces become one, what is said of
// each kind, and that the tier follows the load.
#include <random>

#include "cli/folder.hpp"
#include "cli/process.hpp"
#include "cli/replay/formats/overlay.hpp"
#include "cli/replay/formats/read_trace.hpp"
#include "cli/replay/formats/save.hpp"
#include "cli/replay/timing/mixed_timing.hpp"
#include "cli/replay/walk/kind_watch.hpp"

namespace replay_mixed_test {

namespace {
using namespace cubby_cli;
using namespace cubby_cli::replay;
using nlohmann::json;
using process::command;
using process::command_json;
using process::folder;

/// Two sequences of five tokens; two of sixteen experts in each of two layers.
std::string some_experts() {
  std::string text = R"({"moe_layers":2,"experts_per_layer":16,"top_k":2})";
  for (int token = 0; token < 10; ++token) {
    text += token % 5 == 0 ? "\n{\"prefill_tokens\":1,\"routed_experts\":[" : ",";
    const std::string a = std::to_string(token % 7), b = std::to_string(9 + token % 3);
    text += "[[" + a + "," + b + "],[" + b + "," + a + "]]" + (token % 5 == 4 ? "]}" : "");
  }
  return text + "\n";
}

/// Seven requests over a time of 6000 ms, all but the first half of it.
std::string some_requests() {
  std::string text;
  for (const int at_ms : {1000, 4000, 4500, 5000, 5500, 6000, 7000})
    text += "{\"timestamp\":" + std::to_string(at_ms) + ",\"hash_ids\":[1,2," +
            std::to_string(at_ms) + "]}\n";
  return text;
}

std::vector<uint64_t> places_of(const trace &of) {
  std::vector<uint64_t> places;
  for (const kv_request &one : of.kv.requests) places.push_back(one.tokens_before);
  return places;
}

void check_same(const trace &a, const trace &b) {
  CHECK(a.kind == b.kind);
  CHECK(a.experts.chosen == b.experts.chosen);
  CHECK(a.experts.sequences.size() == b.experts.sequences.size());
  CHECK(a.kv.blocks == b.kv.blocks);
  CHECK(a.kv.unique == b.kv.unique);
  CHECK(places_of(a) == places_of(b));
  for (size_t i = 0; i < std::min(a.kv.requests.size(), b.kv.requests.size()); ++i)
    CHECK(a.kv.requests[i].at_ns == b.kv.requests[i].at_ns);
}

const std::string costs = " --link host:1GB/s,1us --object-bytes 4000 --block-bytes 1000";

json without_times(json all) {
  for (json &one : all["results"]) one.erase("ns_per_visit");
  for (const char *field : {"trace", "with"}) all.erase(field);
  return all;
}

/// Both traces, and the one that they make together.
struct written {
  const folder here;
  const std::string experts = here.write("e.jsonl", some_experts()),
                    blocks = here.write("k.jsonl", some_requests()), both = here.at("b.cubbytrace");
  written() {
    REQUIRE(command("replay --trace " + experts + " --with " + blocks + " --write " + both)
                .exit_status == 0);
  }
};

}  // namespace

TEST_CASE("Requests are laid over tokens by their times, or evenly where there are none") {
  const folder here;
  const std::string experts = here.write("e.jsonl", some_experts());
  const auto timed = read_overlaid(experts, here.write("k.jsonl", some_requests()), no_limit);
  REQUIRE(timed);
  CHECK(timed->kind == trace_kind::mixed);
  CHECK(places_of(*timed) == std::vector<uint64_t>{0, 4, 5, 6, 6, 7, 9});
  std::string untimed;
  for (int i = 0; i < 6; ++i)
    untimed += "{\"timestamp\":5,\"hash_ids\":[" + std::to_string(i) + "]}\n";
  const auto even = read_overlaid(here.write("u.jsonl", untimed), experts, no_limit);
  REQUIRE(even);
  CHECK(places_of(*even) == std::vector<uint64_t>{0, 1, 3, 4, 6, 7});
  CHECK(even->experts.chosen == timed->experts.chosen);
}

TEST_CASE("A mixed trace is the same after it was written and read, and so is its beginning") {
  const written files;
  const auto &[here, experts, blocks, both] = files;
  for (uint64_t limit = 1; limit <= 11; ++limit) {
    INFO(limit);
    const auto laid = read_overlaid(experts, blocks, limit), read = read_trace(both, limit);
    REQUIRE(laid);
    REQUIRE(read);
    CHECK(read->notes.empty());
    CHECK(read->experts.tokens() == std::min<uint64_t>(limit, 10));
    check_same(*laid, *read);
  }
  // Whoever lays what over what, and however many threads: the same figures.
  const std::string options = " --simulate --capacity 30%,20000 --policy all" + costs;
  const json all = without_times(
      command_json("replay --threads 1 --trace " + experts + " --with " + blocks + options, 0));
  CHECK(all == without_times(command_json(
                   "replay --threads 2 --trace " + blocks + " --with " + experts + options, 0)));
  CHECK(all == without_times(command_json("replay --threads 2 --trace " + both + options, 0)));
  CHECK(all["kind"] == "mixed");
  CHECK(all["tokens"] == 10);
  CHECK(all["requests"] == 7);
}

TEST_CASE("A batch takes requests between its steps") {
  const folder here;
  const auto both = read_overlaid(here.write("e.jsonl", some_experts()),
                                  here.write("k.jsonl", some_requests()), no_limit);
  REQUIRE(both);
  std::vector<uint64_t> before;
  make_schedule(both->experts, 1, both->kv.requests, before);
  CHECK(before == std::vector<uint64_t>{0, 8, 10, 12, 12, 14, 18});
  before.clear();
  make_schedule(both->experts, 2, both->kv.requests, before);
  CHECK(before == std::vector<uint64_t>{0, 4, 6, 6, 6, 8, 10});  // two tokens a step
}

TEST_CASE("Each kind has figures of its own, and they are those of the whole") {
  const folder here;
  const json all =
      command_json("replay --simulate --trace " + here.write("e.jsonl", some_experts()) +
                       " --with " + here.write("k.jsonl", some_requests()) +
                       " --capacity 10%,20%,17k --policy all --batch 2" + costs,
                   0);
  CHECK(all["refetch_ns"] == json({{"expert", 5000}, {"block", 2000}}));
  std::vector<std::string> names;
  for (const json &one : all["results"]) {
    INFO(one.dump());
    if (one["capacity"] == "17k") names.push_back(one["policy"]);
    if (one["capacity"] == "17k") CHECK(one["capacity_bytes"] == 17 * 1024);
    if (one["capacity"] == "10%") CHECK(one["capacity_bytes"] == 13700);
    const json &experts = one["experts"], &blocks = one["blocks"];
    const auto sum = [&](const char *field) {
      return experts[field].get<uint64_t>() + blocks[field].get<uint64_t>();
    };
    CHECK(sum("accesses") == all["accesses"]);
    CHECK(sum("hits") == one["hits"]);
    CHECK(sum("waited_ns") == one["waited_ns"]);
    const auto missed = [](const json &kind) {
      return kind["accesses"].get<uint64_t>() - kind["hits"].get<uint64_t>();
    };
    CHECK(experts["missed_bytes"] == missed(experts) * 4000);
    CHECK(experts["waited_ns"] == missed(experts) * 5000);
    CHECK(blocks["missed_bytes"] == missed(blocks) * 1000);
    CHECK(blocks["fresh"] == 9);  // no policy could have had those
    CHECK(blocks["waited_ns"] == (missed(blocks) - 9) * 2000);
    CHECK(one["gap_closed"].is_null());
    REQUIRE(one["blocks_share"].size() == 20);
    for (const json &share : one["blocks_share"]) CHECK((share >= 0.0 && share <= 1.0));
    if (one["policy"] == "lru") CHECK(one["waited_saved"] == 0.0);
  }
  CHECK(names == std::vector<std::string>{"lru", "lfu", "lru-2", "arc", "s3-fifo", "sieve",
                                          "w-tinylfu", "gdsf", "random", "mixed"});
}

TEST_CASE("What a mixed replay cannot do is said in one sentence") {
  const written files;
  const auto &[here, experts, blocks, both] = files;
  const std::string link = " --link host:1GB/s", timed = " --timing --compute-ns 5" + link;
  const std::pair<std::string, std::string> cases[] = {
      {both + " --simulate", "give it with --link host:"},
      {both + timed, "needs --block-compute-ns"},
      {both + timed + " --block-compute-ns 5 --lookahead 1", "for traces of one kind"},
      {both + timed + " --block-compute-ns 5 --host-capacity 10%", "for traces of one kind"},
      {both + " --simulate --policy lru,belady" + link, "neither sizes nor costs"},
      {both + " --simulate --policy moe" + link, "not made for traces of experts and KV blocks"},
      {both + " --simulate --capacity many" + link, "a size like 8GiB"},
      {both + " --simulate --capacity 5" + link, "alone needs"},
      {both + " --simulate --capacity 1t" + link, "more than all"},
      {both + " --io" + link, "--io is for traces of one kind"},
      {both + " --write-oracle " + here.at("o"), "use --write"},
      {both + " --with " + blocks + " --simulate" + link, "holds experts and KV blocks already"},
      {experts + " --with " + both + " --simulate" + link, "holds experts and KV blocks already"},
      {experts + " --with " + experts + " --simulate" + link, "are both of experts"},
      {blocks + " --with " + blocks + " --simulate" + link, "are both of KV blocks"},
      {experts + " --with " + blocks + " --write " + blocks, "the file of --with"},
      {experts + " --simulate --block-bytes 5", "use --object-bytes"},
      {experts + " --simulate --block-compute-ns 5", "use --compute-ns"},
      {experts + " --simulate" + link, "are for --timing"}};
  for (const auto &[arguments, said] : cases) {
    const auto ran = command("replay --trace " + arguments);
    INFO(arguments << " said: " << ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find(said) != std::string::npos);
    CHECK(std::count(ran.text.begin(), ran.text.end(), '\n') == 1);
  }
}

namespace {

/// One layer of four experts, of one token each; `places`: tokens before the requests.
trace trace_of(const std::vector<uint16_t> &chosen,
               const std::vector<std::vector<uint32_t>> &requests,
               const std::vector<uint64_t> &places) {
  trace made;
  made.kind = trace_kind::mixed;
  made.experts = {1, 4, 1, {{0, static_cast<uint32_t>(chosen.size()), 0}}, chosen};
  for (size_t i = 0; i < requests.size(); ++i) {
    made.kv.requests.push_back(
        {i, made.kv.blocks.size(), static_cast<uint32_t>(requests[i].size()), places[i]});
    for (const uint32_t block : requests[i]) {
      made.kv.blocks.push_back(block);
      made.kv.unique = std::max(made.kv.unique, block + 1);
    }
  }
  return made;
}

/// A trace ready to be played.
struct stage {
  explicit stage(trace made, uint64_t expert_bytes, uint64_t block_bytes) : read(std::move(made)) {
    std::vector<uint64_t> before;
    visits = make_schedule(read.experts, 1, read.kv.requests, before);
    requests = make_requests(read.kv, visits.objects());
    requests.visits_before = before;
    to_play = {&visits, &requests, expert_bytes, block_bytes};
  }
  stage(const stage &) = delete;
  trace read;
  expert_schedule visits;
  request_schedule requests;
  course to_play;
};

json played(const stage &on, const cubby_policy_ops &policy, uint64_t capacity,
            const miss_costs &refetch, reporter &by) {
  simulation how;
  how.policy = &policy;
  how.capacity = capacity;
  how.refetch = refetch;
  how.watchers = {&by};
  REQUIRE(simulate(on.to_play, how));
  return by.report();
}

json timed(const stage &on, const timing_rules &rules) {
  mixed_timing clock(on.to_play, on.read.kv, rules);
  return played(on, *cubby_policy_find("lru"), 2000, {}, clock);
}

/// Who is there, and how many have left.
struct residents final : reporter {
  void used(uint64_t, std::span<const cubby_object>, std::span<const cubby_object>) override {}
  void came(cubby_object object) override { there.push_back(object); }
  void left(cubby_object object) override {
    std::erase(there, object);
    ++left_count;
  }
  void ended() override {}
  json report() override {
    std::sort(there.begin(), there.end());
    return {{"there", there}, {"left", left_count}};
  }
  std::vector<cubby_object> there;
  int left_count = 0;
};

}  // namespace

TEST_CASE("As many leave as a larger newcomer needs, and nobody for one that is refused") {
  // Two blocks are there, an expert of the size of both comes; blocks are 4 and 5.
  const stage on(trace_of({0}, {{0, 1}}, {0}), 2000, 1000);
  residents all, none;
  const cubby_policy_ops lru = *cubby_policy_find("lru");
  CHECK(played(on, lru, 2000, {}, all) == json({{"there", {0}}, {"left", 2}}));
  cubby_policy_ops picky = lru;
  picky.admit = [](cubby_policy *, cubby_object, cubby_object victim) {
    return victim == 5 ? 1 : 0;
  };
  CHECK(played(on, picky, 2000, {}, none) == json({{"there", {4, 5}}, {"left", 0}}));
  picky.admit = [](cubby_policy *, cubby_object, cubby_object) { return 1; };
  CHECK(played(on, picky, 2000, {}, all = {}) == json({{"there", {0}}, {"left", 2}}));
}

TEST_CASE("Tokens and requests take their turns at one clock") {
  // Room for one block, or for two experts: the blocks push the expert out, and it them.
  const stage on(trace_of({0, 0}, {{0, 1}, {0, 1}}, {1, 2}), 1000, 2000);
  timing_rules rules;
  rules.host = {"host", 1e9, 500};
  rules.compute_ns = 2000;
  rules.block_compute_ns = 3000;
  rules.object_bytes = 1000;
  rules.block_bytes = 2000;
  const json plain = timed(on, rules);
  // 1500 + 2000 for the token, 2 × 3000 for two new blocks, 3500 again; then both blocks are
  // loaded, one there at 2500 and one at 4500, which is sooner than computing any of them.
  CHECK(plain["time_ns"] == 3500 + 6000 + 3500 + 4500);
  CHECK(plain["tokens"] == 2);
  CHECK(plain["tokens_per_s"] == Approx(2e9 / 17500));
  CHECK(plain["requests"] == 2);
  CHECK(plain["first_token"]["p50_ns"] == 4500);
  CHECK(plain["first_token"]["p99_ns"] == 6000);
  CHECK(plain["stall"]["mean_ns"] == (1500 + 1500 + 0 + 4500) / 4.0);
  CHECK(plain["stall"]["share"] == Approx(7500.0 / 17500));
  CHECK(plain["stall"]["by_cause"]["recompute"]["p99_ns"] == 0);
  CHECK(plain["bytes_by_link"] == json({{"host", 2 * 1000 + 2 * 2000}, {"nvme", 0}}));
  CHECK(plain["bytes_by_cause"]["write_back"] == 4000);  // blocks alone, each once
  CHECK(plain["bytes_by_cause"]["file_write"] == 0);

  // Over both links a block takes 9500: computing the two of them, 6000.
  rules.nvme = {"nvme", 5e8, 3000};
  rules.host_has_all = false;
  const json far = timed(on, rules);
  CHECK(far["time_ns"] == 2 * (6500 + 2000) + 2 * 6000);
  CHECK(far["stall"]["by_cause"]["recompute"]["p99_ns"] == 6000);
  CHECK(far["bytes_by_link"] == json({{"host", 2000}, {"nvme", 2000}}));
  CHECK(far["bytes_by_cause"]["file_write"] == 4000);
}

namespace {

/// Tokens that use some experts more than others, and requests of a few sessions: at first and in
/// the end few of them, in between one a token, of more sessions.
trace there_and_back() {
  constexpr uint32_t layers = 4, experts = 32, phase_tokens = 3000, session_blocks = 16;
  std::mt19937_64 dice(8);
  trace made;
  made.kind = trace_kind::mixed;
  made.experts = {layers, experts, 2, {{0, 3 * phase_tokens, 0}}, {}};
  for (uint32_t token = 0; token < 3 * phase_tokens; ++token) {
    const bool busy = token / phase_tokens == 1;
    if (token % (busy ? 1 : 40) == 0) {
      const auto session = static_cast<uint32_t>(dice() % (busy ? 16 : 4));
      made.kv.requests.push_back(
          {token * 20'000'000ull, made.kv.blocks.size(), session_blocks, token});
      for (uint32_t i = 0; i < session_blocks; ++i)
        made.kv.blocks.push_back(session * session_blocks + i);
    }
    for (uint32_t layer = 0; layer < layers; ++layer) {
      const auto one = static_cast<uint16_t>(std::min(dice() % experts, dice() % experts));
      made.experts.chosen.push_back(one);
      made.experts.chosen.push_back(static_cast<uint16_t>((one + 1) % experts));
    }
  }
  made.kv.unique = 16 * session_blocks;
  return made;
}

}  // namespace

TEST_CASE("The tier follows the load from experts to KV blocks and back, and less is waited") {
  constexpr uint64_t expert_bytes = 64 << 10, block_bytes = 16 << 10;
  const stage on(there_and_back(), expert_bytes, block_bytes);
  const miss_costs refetch = {40'000, 60'000};
  const auto run = [&](const char *name) {
    kind_watch watch(on.to_play, refetch);
    return played(on, *cubby_policy_find(name), 96 * expert_bytes, refetch, watch);
  };
  const json mixed = run("mixed"), lru = run("lru"), random = run("random");
  const auto share = [&](size_t part) { return mixed["blocks_share"][part].get<double>(); };
  INFO(mixed.dump() << "\n" << lru.dump() << "\n" << random.dump());
  CHECK(share(12) > share(6) + 0.4);
  CHECK(share(12) > share(19) + 0.4);
  CHECK(share(12) < 0.97);  // the floor of the experts
  CHECK(mixed["waited_ns"] < lru["waited_ns"]);
  CHECK(mixed["waited_ns"] < random["waited_ns"]);
}

}  // namespace replay_mixed_test
