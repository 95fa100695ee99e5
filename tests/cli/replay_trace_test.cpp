// cubby's own trace format: recorded by a runtime, written from other traces, read again, and its
// torn places reported; and libCacheSim's format.
#include "cli/trace_header.hpp"

#include <filesystem>
#include <fstream>
#include <iterator>

#include "cli/folder.hpp"
#include "cli/model/make_model.hpp"
#include "cli/process.hpp"
#include "cli/replay/formats/read_trace.hpp"
#include "cli/replay/walk/schedule.hpp"

namespace replay_trace_test {

namespace {
using namespace cubby_cli;
using nlohmann::json;
using process::command;
using process::command_json;
using process::folder;

std::string bytes_of(const std::string &path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// Without what a clock measured.
json untimed(json results) {
  for (json &one : results) one.erase("ns_per_visit");
  return results;
}

constexpr uint32_t layers = 3, experts = 8, top_k = 2;

/// A runtime over a small model of three layers of eight experts.
struct recorded_runtime {
  cubby_handle *rt = nullptr;
  cubby_bank bank = 0;
  cubby_tier tier = 0;

  explicit recorded_runtime(const folder &here) {
    model::geometry shape;
    shape.layers = layers;
    shape.experts = experts;
    shape.top_k = top_k;
    shape.hidden = shape.ffn = 64;
    REQUIRE(model::make_model(shape, here.at("m.gguf"), true));
    cubby_config config{};
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_ABI_VERSION;
    config.pump = CUBBY_PUMP_CALLER;
    REQUIRE(cubby_open(&config, &rt) == CUBBY_OK);
    REQUIRE(cubby_bank_adopt(rt, here.at("m.gguf").c_str(), nullptr, &bank) == CUBBY_OK);
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "host";
    desc.name = "host:0";
    desc.device = -1;
    desc.budget_bytes = 4 << 20;
    REQUIRE(cubby_tier_add(rt, &desc, &tier) == CUBBY_OK);
  }
  ~recorded_runtime() { cubby_close(rt); }
  recorded_runtime(const recorded_runtime &) = delete;
  recorded_runtime &operator=(const recorded_runtime &) = delete;

  void pin(uint32_t layer, const std::vector<uint32_t> &chosen) const {
    std::vector<cubby_item> items(chosen.size());
    for (size_t i = 0; i < chosen.size(); ++i)
      items[i].id = CUBBY_ID(bank, layer * experts + chosen[i]);
    std::vector<const void *> parts(items.size() * 3);
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status = cubby_pin(rt, items.data(), static_cast<uint32_t>(items.size()), tier,
                                    nullptr, &pins, parts.data(), &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(rt, ticket, -1);
    REQUIRE(status == CUBBY_OK);
    REQUIRE(cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK);
  }
  void visit(uint32_t slot, uint32_t layer, const std::vector<uint16_t> &chosen) const {
    const cubby_routed routed = {slot, layer, static_cast<uint32_t>(chosen.size()), chosen.data(),
                                 nullptr};
    REQUIRE(cubby_visit(rt, bank, &routed, 1) == CUBBY_OK);
  }
  std::string read(size_t piece_bytes) const {
    std::string all, piece(piece_bytes, 0);
    for (uint64_t got = 1; got != 0;) {
      REQUIRE(cubby_trace_read(rt, piece.data(), piece.size(), &got) == CUBBY_OK);
      all.append(piece, 0, got);
    }
    return all;
  }
  cubby_trace_info info() const {
    cubby_trace_info seen{};
    seen.struct_size = sizeof seen;
    REQUIRE(cubby_trace_describe(rt, &seen) == CUBBY_OK);
    return seen;
  }
};

uint64_t number_at(const std::string &bytes, size_t at, size_t count) {
  uint64_t value = 0;
  for (size_t i = count; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

const std::string small_trace =
    R"({"model":"m","moe_layers":2,"experts_per_layer":8,"top_k":2,"sequences":2})"
    "\n{\"prefill_tokens\":1,\"routed_experts\":[[[0,1],[2,3]],[[4,5],[6,7]],[[0,1],[2,-1]]]}\n"
    "{\"routed_experts\":[[[4,5],[6,7]]]}\n";

}  // namespace

TEST_CASE("What a runtime used is what its trace replays") {
  const folder here;
  const recorded_runtime runtime(here);
  runtime.pin(0, {7});  // before the recording: not in it
  REQUIRE(cubby_trace_start(runtime.rt, nullptr) == CUBBY_OK);
  CHECK(cubby_trace_start(runtime.rt, nullptr) == CUBBY_ERR_BUSY);
  std::vector<std::vector<uint32_t>> wanted;  // layer, then the experts
  std::string bytes;
  for (uint32_t token = 0; token < 50; ++token) {
    for (uint32_t layer = 0; layer < layers; ++layer) {
      const uint32_t one = (token + layer) % experts, other = (one + 1 + token % 3) % experts;
      runtime.pin(layer, {one, other});
      wanted.push_back({layer, one, other});
    }
    if (token % 7 == 0) bytes += runtime.read(5);
  }
  REQUIRE(cubby_trace_stop(runtime.rt) == CUBBY_OK);
  runtime.pin(0, {7});  // behind it
  bytes += runtime.read(7);
  CHECK(runtime.info().visit_count == wanted.size());
  CHECK(runtime.info().lost_count == 0);
  CHECK(runtime.info().running == 0);

  const std::string path = here.write("t.cubbytrace", bytes);
  const auto read = replay::read_trace(path);
  REQUIRE(read);
  CHECK(read->notes.empty());
  CHECK(read->experts.experts == experts);
  const replay::expert_schedule made = replay::make_schedule(read->experts, 1);
  REQUIRE(made.visits.size() == wanted.size());
  for (size_t v = 0; v < wanted.size(); ++v) {
    const replay::visit_record &visit = made.visits[v];
    std::vector<uint32_t> seen = {visit.row};
    for (uint32_t i = 0; i < visit.used_count; ++i)
      seen.push_back(made.used[visit.first_used + i] - visit.row * experts);
    CHECK(seen == wanted[v]);
  }
  const json all = command_json("replay --simulate --trace " + path + " --policy lru", 0);
  CHECK(all.at("accesses") == 2 * wanted.size());
  CHECK(all.at("kind") == "experts");
  CHECK_FALSE(all.contains("lost"));
}

TEST_CASE("Slots are sequences of their own in a recording") {
  const folder here;
  const recorded_runtime runtime(here);
  REQUIRE(cubby_trace_start(runtime.rt, nullptr) == CUBBY_OK);
  for (uint16_t token = 0; token < 4; ++token)
    for (uint32_t layer = 0; layer < layers; ++layer)
      for (uint32_t slot : {0u, 3u}) {
        const auto first = static_cast<uint16_t>(slot + layer);
        runtime.visit(slot, layer, {first, static_cast<uint16_t>((first + 1u + token) % experts)});
      }
  runtime.visit(5000, 0, {1});  // no place for such a slot
  REQUIRE(cubby_trace_stop(runtime.rt) == CUBBY_OK);
  const auto read = replay::read_trace(here.write("t", runtime.read(1 << 16)));
  REQUIRE(read);
  REQUIRE(read->experts.sequences.size() == 2);
  CHECK(read->experts.sequences[1].token_count == 4);
  CHECK(read->experts.at(4, 2)[0] == 5);  // slot 3, layer 2
  CHECK(read->lost == 1);
}

TEST_CASE("What finds no room is counted, in the trace too") {
  const folder here;
  const recorded_runtime runtime(here);
  cubby_trace_config small{};
  small.struct_size = sizeof small;
  small.ring_bytes = 1000;
  CHECK(cubby_trace_start(runtime.rt, &small) == CUBBY_ERR_INVALID);
  small.ring_bytes = 16 << 10;
  REQUIRE(cubby_trace_start(runtime.rt, &small) == CUBBY_OK);
  constexpr uint32_t made = 9000;
  for (uint32_t i = 0; i < made; ++i) {
    runtime.visit(0, i % layers, {static_cast<uint16_t>(i % experts)});
    if (i % 64 == 0) runtime.info();  // hears the visits
    if (i == made / 2) CHECK(runtime.read(100000).size() > 12000);
  }
  CHECK(runtime.info().waiting_bytes <= (16 << 10) + 4200);
  const cubby_trace_info seen = runtime.info();
  CHECK(seen.visit_count + seen.lost_count == made);
  CHECK(seen.lost_count > 0);
  REQUIRE(cubby_trace_stop(runtime.rt) == CUBBY_OK);
  CHECK(runtime.read(100000).size() > 12000);
  CHECK(runtime.info().visit_count + runtime.info().lost_count == made);

  // A new recording, all of it read in the end: the file says what is missing.
  REQUIRE(cubby_trace_start(runtime.rt, &small) == CUBBY_OK);
  for (uint32_t i = 0; i < made; ++i) {
    runtime.visit(0, i % layers, {static_cast<uint16_t>(i % experts)});
    if (i % 64 == 0) runtime.info();
  }
  REQUIRE(cubby_trace_stop(runtime.rt) == CUBBY_OK);
  const std::string path = here.write("t.cubbytrace", runtime.read(64));
  const json all = command_json("replay --simulate --trace " + path + " --policy lru", 0);
  CHECK(all.at("lost") == runtime.info().lost_count);
  CHECK(all.at("accesses").get<uint64_t>() + all.at("lost").get<uint64_t>() == made);
  CHECK(all.at("notes").size() == 1);
}

TEST_CASE("Recording says what is wrong") {
  const folder here;
  const recorded_runtime runtime(here);
  uint64_t got = 0;
  char byte = 0;
  CHECK(cubby_trace_stop(runtime.rt) == CUBBY_ERR_INVALID);
  CHECK(cubby_trace_read(runtime.rt, &byte, 1, &got) == CUBBY_ERR_INVALID);
  CHECK(runtime.info().ring_bytes == 0);
  REQUIRE(cubby_trace_start(runtime.rt, nullptr) == CUBBY_OK);
  CHECK(cubby_trace_read(runtime.rt, nullptr, 1, &got) == CUBBY_ERR_INVALID);
  CHECK(cubby_trace_read(runtime.rt, &byte, 1, nullptr) == CUBBY_ERR_INVALID);
  CHECK(runtime.info().ring_bytes == 1 << 20);
  CHECK(cubby_trace_check(0, "123456789", 9) == 0xCBF43926u);
  CHECK(cubby_trace_check(cubby_trace_check(0, "1234", 4), "56789", 5) == 0xCBF43926u);
}

TEST_CASE("A trace that was written is the trace that was read") {
  const folder here;
  const std::string kv =
      "{\"timestamp\":0,\"hash_ids\":[1,2,3]}\n{\"timestamp\":1500,\"hash_ids\":[1,2,4]}\n";
  for (const auto &[name, text] :
       {std::pair<std::string, std::string>{"e.jsonl", small_trace}, {"k.jsonl", kv}}) {
    INFO(name);
    const std::string from = here.write(name, text), to = here.at(name + ".cubbytrace");
    const json report = command_json("replay --trace " + from + " --write " + to, 0);
    CHECK_FALSE(report.contains("results"));
    json one =
        command_json("replay --simulate --policy lru,belady --capacity 4 --trace " + from, 0);
    json other =
        command_json("replay --simulate --policy lru,belady --capacity 4 --trace " + to, 0);
    one.erase("trace");
    other.erase("trace");
    for (json *all : {&one, &other})
      for (json &result : all->at("results")) result.erase("ns_per_visit");
    CHECK(one == other);
    REQUIRE(process::shell("xz -k " + to).exit_status == 0);
    CHECK(
        command("replay --simulate --policy lru --trace " + to + ".xz --capacity 4").exit_status ==
        0);
  }
}

TEST_CASE("A torn trace is reported by its byte") {
  const folder here;
  const std::string from = here.write("e.jsonl", small_trace), to = here.at("t.cubbytrace");
  command_json("replay --trace " + from + " --write " + to, 0);
  const std::string whole = bytes_of(to);
  const auto refused = [&](const std::string &bytes, const std::string &said) {
    const auto ran = command("replay --simulate --trace " + here.write("torn", bytes));
    INFO(ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find(said) != std::string::npos);
  };
  // The head, a grid of 16 + 16 bytes, the visits, the end of 16 bytes.
  refused(whole.substr(0, 12), "ends within its head");
  refused(whole.substr(0, 30), "block 0 at byte 16 is cut off: 2 bytes are missing");
  refused(whole.substr(0, whole.size() - 20), "block 1 at byte 48 is cut off: 4 bytes are missing");
  std::string flipped = whole;
  flipped[70] = static_cast<char>(flipped[70] ^ 1);
  refused(flipped, "block 1 at byte 48 is damaged");
  refused(whole + "x", "bytes behind the end");
  refused(whole.substr(0, 16) + whole.substr(48), "says it is block 1; blocks are missing");
  flipped = whole;
  flipped[8] = 2;
  refused(flipped, "version 2");
  const json open = command_json("replay --simulate --policy lru --trace " +
                                     here.write("open", whole.substr(0, whole.size() - 16)),
                                 0);
  CHECK(open.at("notes").dump().find("no end mark") != std::string::npos);
}

TEST_CASE("replay writes oracleGeneral") {
  const folder here;
  const std::string from = here.write("e.jsonl", small_trace), to = here.at("t.oracle");
  const json report =
      command_json("replay --trace " + from + " --write-oracle " + to + " --object-bytes 4096", 0);
  const std::string bytes = bytes_of(to);
  REQUIRE(bytes.size() == 24 * report.at("accesses").get<size_t>());
  // Uses: token 0: 0 1 | 10 11, token 1: 4 5 | 14 15, token 2: 0 1 | 10, token 3: 4 5 | 14 15.
  const std::vector<uint64_t> objects = {0, 1, 10, 11, 4, 5, 14, 15, 0, 1, 10, 4, 5, 14, 15};
  const std::vector<int64_t> next = {8, 9, 10, -1, 11, 12, 13, 14, -1, -1, -1, -1, -1, -1, -1};
  const std::vector<uint64_t> clock = {0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 3, 3, 3, 3};
  for (size_t i = 0; i < objects.size(); ++i) {
    INFO(i);
    CHECK(number_at(bytes, 24 * i, 4) == clock[i]);
    CHECK(number_at(bytes, 24 * i + 4, 8) == objects[i]);
    CHECK(number_at(bytes, 24 * i + 12, 4) == 4096);
    CHECK(static_cast<int64_t>(number_at(bytes, 24 * i + 16, 8)) == next[i]);
  }
}

TEST_CASE("oracleGeneral is read as it was written, one block a record") {
  const folder here;
  std::string requests;
  for (int i = 0; i < 40; ++i)
    requests += "{\"timestamp\": " + std::to_string(i * 1500) + ", \"hash_ids\": [" +
                std::to_string(i % 7) + ", " + std::to_string(100 + i % 3) + "]}\n";
  const std::string from = here.write("kv.jsonl", requests), to = here.at("kv.oracleGeneral.bin");
  const json written = command_json("replay --trace " + from + " --write-oracle " + to, 0);
  const json read = command_json("replay --simulate --policy lru --capacity 5 --trace " + to, 0);
  CHECK(read["kind"] == "kv");
  CHECK(read["accesses"] == written["accesses"]);
  CHECK(read["unique"] == written["unique"]);
  CHECK(read["requests"] == 80);
  // What was read is written again as it was, and replaces it.
  const std::string before = bytes_of(to);
  command_json("replay --trace " + to + " --write-oracle " + here.at("again"), 0);
  std::string again = bytes_of(here.at("again"));
  CHECK(again == before);
  command_json("replay --trace " + from + " --write-oracle " + here.at("again"), 0);
  CHECK(command_json("replay --trace " + to + " --limit 10 --write " + here.at("w"),
                     0)["accesses"] == 10);
  const auto refused = [&](const std::string &bytes, const std::string &why) {
    const auto ran = command("replay --simulate --trace " + here.write("bad", bytes));
    INFO(ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find(why) != std::string::npos);
  };
  refused(before.substr(0, before.size() - 5), "ends within record 79");
  std::string behind = before;
  behind.replace(24 * 60 + 16, 8, std::string(8, '\0'));
  refused(behind, "is binary, but neither");
}

TEST_CASE("requests with a chat_id tell seconds, as Bailian's do") {
  const folder here;
  const auto trace = [&](const char *name, bool chats, double unit) {
    std::string text;
    for (int i = 0; i < 20; ++i)
      text += std::string("{") + (chats ? "\"chat_id\": 5, \"turn\": 1, " : "") +
              "\"timestamp\": " + std::to_string((61.5 + i * 1.5) * unit) +
              ", \"input_length\": 32, \"hash_ids\": [1, " + std::to_string(2 + i % 5) + "]}\n";
    return here.write(name, text);
  };
  const std::string seconds = trace("s.jsonl", true, 1), ms = trace("ms.jsonl", false, 1000);
  const std::string how =
      "replay --timing --policy lru --capacity 50% --compute-ns 5000000 "
      "--link host:25GB/s,10us --trace ";
  const json a = command_json(how + seconds, 0), b = command_json(how + ms, 0);
  CHECK(untimed(a["results"]) == untimed(b["results"]));
  CHECK(a["notes"].dump().find("times are seconds") != std::string::npos);
  CHECK_FALSE(b.contains("notes"));
  command_json("replay --trace " + seconds + " --write " + here.at("a"), 0);
  command_json("replay --trace " + ms + " --write " + here.at("b"), 0);
  CHECK(bytes_of(here.at("a")) == bytes_of(here.at("b")));
  const auto mixed = command("replay --simulate --trace " +
                             here.write("m.jsonl", bytes_of(seconds) + bytes_of(ms)));
  CHECK(mixed.exit_status == 2);
  CHECK(mixed.text.find("line 21: has no chat_id") != std::string::npos);
}

TEST_CASE("traces of other formats are refused by their name, with what to do") {
  const folder here;
  const struct {
    const char *name;
    std::string text;
    const char *advice;
  } all[] = {
      {"azure.csv", "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9,4808,10\n",
       "counts of tokens only"},
      {"burst.csv", "Timestamp,Model,Request tokens,Response tokens\n5,ChatGPT,472,18\n",
       "counts of tokens only"},
      {"cache.csv", "time,obj_id,obj_size,op\n1,5,4096,get\n", "oracleGeneral, which is read"},
      {"nums.csv", "# time, object, size, next_access_vtime\n0, 5, 4096, 2\n",
       "oracleGeneral, which is read"},
      {"array.json", "[{\"timestamp\": 0, \"hash_ids\": [1]}]", "an object a line"},
      {"nohash.jsonl", "{\"timestamp\": 0, \"input_length\": 100}\n", "no hash_ids"},
      {"t.jsonl.gz", std::string("\x1f\x8b\x08\0\0\0\0\0", 8), "gunzip"},
      {"t.zip", "PK\x03\x04....", "zip archive"},
      {"t.jsonl", std::string("\x28\xb5\x2f\xfd\0\0\0\0", 8), "does not end in .zst"},
      {"t.bin", std::string("\x01\x02\0\x04", 4), "is binary"},
  };
  for (const auto &one : all) {
    const auto ran = command("replay --simulate --trace " + here.write(one.name, one.text));
    INFO(ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find(one.advice) != std::string::npos);
  }
}

TEST_CASE("replay writes over its own kinds of files alone") {
  const folder here;
  const std::string from = here.write("e.jsonl", small_trace);
  const std::string how = "replay --simulate --policy lru --capacity 50% --trace " + from;
  for (const char *option : {"--write", "--write-oracle", "--html"}) {
    const std::string path = here.at(std::string("out") + option);
    CHECK(command(how + " " + option + " " + path).exit_status == 0);
    CHECK(command(how + " " + option + " " + path).exit_status == 0);  // its own
    for (const std::string &text : {std::string("notes"), std::string(), std::string(48, 'x')}) {
      here.write("other", text);
      const auto ran = command(how + " " + option + " " + here.at("other"));
      INFO(option << ": " << ran.text);
      CHECK(ran.exit_status == 2);
      CHECK(ran.text.find("was not made by this command") != std::string::npos);
      CHECK(bytes_of(here.at("other")) == text);
    }
    std::filesystem::create_symlink(path, here.at("link"));
    CHECK(command(how + " " + option + " " + here.at("link")).exit_status == 2);
    std::filesystem::remove(here.at("link"));
  }
}

TEST_CASE("policy auto is the runtime's choice; empty words between commas are refused") {
  const folder here;
  const std::string how = "replay --simulate --capacity 50% --trace " +
                          here.write("e.jsonl", small_trace) + " --policy ";
  CHECK(untimed(command_json(how + "auto", 0)["results"]) ==
        untimed(command_json(how + "moe", 0)["results"]));
  CHECK(command_json(how + "auto,moe,lru", 0)["results"].size() == 2);
  for (const char *words : {",", "lru,", ",lru", "lru,,moe", "''"}) {
    const auto ran = command(how + words);
    INFO(ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find("an empty word") != std::string::npos);
  }
  CHECK(command(how + "nobody").text.find("there are auto, ") != std::string::npos);
}

TEST_CASE("replay writes nothing when something is wrong") {
  const folder here;
  const std::string from = here.write("e.jsonl", small_trace);
  CHECK(command("replay --simulate --trace " + from + " --policy nobody --write " + here.at("a"))
            .exit_status == 2);
  CHECK(command("replay --simulate --trace " + from + " --capacity 1 --write " + here.at("a"))
            .exit_status == 2);
  const auto ran = command("replay --trace " + from + " --write " + here.at("no/such/folder"));
  CHECK(ran.exit_status == 2);
  CHECK(ran.text.find("is missing; make it first") != std::string::npos);
  size_t files = 0;
  for (const auto &one : std::filesystem::directory_iterator(here.path))
    files += one.is_regular_file() ? 1u : 0u;
  CHECK(files == 1);
}

}  // namespace replay_trace_test
