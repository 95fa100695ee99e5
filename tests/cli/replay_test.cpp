// `cubby replay --simulate`: its fields, figures known by hand and by others' measurement, and what
// it says of traces and names that are wrong.
#include <array>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "cli/folder.hpp"
#include "cli/process.hpp"

namespace replay_test {

namespace {
using nlohmann::json;
using process::command;
using process::command_json;
using process::folder;

/// Tokens that take turns between two sets of experts, in two layers.
std::string small_experts() {
  std::string text =
      R"({"model":"m","moe_layers":2,"experts_per_layer":8,"top_k":2,"sequences":1})";
  text += "\n{\"sequence\":0,\"prefill_tokens\":0,\"routed_experts\":[";
  for (int token = 0; token < 10; ++token) {
    text += token == 0 ? "" : ",";
    text += token % 2 == 0 ? "[[0,1],[2,3]]" : "[[4,5],[6,7]]";
  }
  return text + "]}\n";
}

const std::string small_kv =
    "{\"timestamp\":0,\"input_length\":1,\"output_length\":1,\"hash_ids\":[1,2,3]}\n"
    "{\"timestamp\":1000,\"input_length\":1,\"output_length\":1,\"hash_ids\":[1,2,4]}\n"
    "{\"timestamp\":2000,\"input_length\":1,\"output_length\":1,\"hash_ids\":[1,2,3]}\n";

json result_of(const json &all, const std::string &policy, const std::string &capacity) {
  for (const json &one : all.at("results"))
    if (one.at("policy") == policy && one.at("capacity") == capacity) return one;
  FAIL("no result for " << policy << " at " << capacity);
  return {};
}

}  // namespace

TEST_CASE("replay has the promised fields and figures known by hand") {
  const folder here;
  const std::string trace = here.write("t.jsonl", small_experts());
  const json all = command_json("replay --simulate --trace " + trace +
                                    " --policy lru,belady,random --capacity 25%,50%,4 --seed 3",
                                0);
  CHECK(all.at("trace") == trace);
  CHECK(all.at("kind") == "experts");
  CHECK(all.at("accesses") == 40);
  CHECK(all.at("unique") == 8);
  CHECK(all.at("results").size() == 9);
  const json lru = result_of(all, "lru", "25%");
  for (const char *field : {"policy", "capacity", "capacity_lockers", "batch", "hits", "hit_ratio",
                            "gap_closed", "ns_per_visit", "state_bytes"})
    CHECK(lru.contains(field));
  // 16 pairs; 4 lockers hold every other token's experts.
  CHECK(lru.at("capacity_lockers") == 4);
  CHECK(lru.at("hits") == 0);
  CHECK(lru.at("batch") == 1);
  CHECK(lru.at("gap_closed") == 0);
  const json best = result_of(all, "belady", "25%");
  CHECK(best.at("hits") == 16);  // keeps one token's experts: four of its five uses hit
  CHECK(best.at("hit_ratio") == Approx(0.4));
  CHECK(best.at("gap_closed") == 1);
  CHECK(result_of(all, "lru", "50%").at("hits") == 32);
  CHECK(result_of(all, "lru", "50%").at("gap_closed").is_null());
  CHECK(result_of(all, "belady", "4").at("hits") == 16);
}

TEST_CASE("replay counts leading runs of KV blocks") {
  const folder here;
  const json all = command_json("replay --simulate --trace " + here.write("t.jsonl", small_kv) +
                                    " --policy lru,kv --capacity 100%,50%",
                                0);
  CHECK(all.at("kind") == "kv");
  CHECK(all.at("accesses") == 9);
  CHECK(all.at("unique") == 4);
  CHECK(result_of(all, "lru", "100%").at("hits") == 5);
  // Two lockers: the beginning of the prefix stays.
  CHECK(result_of(all, "lru", "50%").at("hits") == 4);
  CHECK(result_of(all, "kv", "100%").at("hits") == 5);
}

TEST_CASE("replay reads CSV, xz and zst as they are") {
  const folder here;
  std::string csv = "token,layer,experts\n";
  for (int token = 0; token < 10; ++token) {
    const bool even = token % 2 == 0;
    csv += std::to_string(token) + (even ? ",0,0 1\n" : ",0,4 5\n");
    csv += std::to_string(token) + (even ? ",1,2 3\n" : ",1,6 7\n");
  }
  const std::string plain = here.write("t.csv", csv);
  here.write("t.jsonl", small_experts());
  const std::string folder_name = here.path.string();
  REQUIRE(process::shell("cd " + folder_name + " && xz -k t.jsonl && xz -k t.csv").exit_status ==
          0);
  std::vector<std::string> names = {"t.csv", "t.csv.xz", "t.jsonl.xz"};
  if (process::shell("cd " + folder_name + " && zstd -q -k t.jsonl 2>&1").exit_status == 0)
    names.push_back("t.jsonl.zst");
  else
    WARN("zstd is not installed: .zst is not tested");
  for (const std::string &name : names) {
    INFO(name);
    const json all = command_json(
        "replay --simulate --trace " + folder_name + "/" + name + " --policy belady --capacity 4",
        0);
    CHECK(result_of(all, "belady", "4").at("hits") == 16);
  }
}

TEST_CASE("replay reads a text that begins with a byte order mark") {
  const folder here;
  const std::string mark = "\xEF\xBB\xBF";
  for (const auto &[name, text] :
       {std::pair<std::string, std::string>("t.csv", "token,layer,experts\n0,0,1 2\n1,0,1 2\n"),
        {"bare.csv", "0,0,1 2\n1,0,1 2\n"},
        {"t.jsonl", small_experts()}}) {
    INFO(name);
    const std::string capacity = " --policy lru --capacity 100%";
    json plain = command_json("replay --simulate --trace " + here.write(name, text) + capacity, 0);
    json marked =
        command_json("replay --simulate --trace " + here.write(name, mark + text) + capacity, 0);
    CHECK(marked["results"][0]["hits"] == plain["results"][0]["hits"]);
    CHECK(marked["accesses"] == plain["accesses"]);
  }
}

TEST_CASE("capacities below one token's working set are said to be, of every policy") {
  const folder here;
  const std::string line = "replay --simulate --quiet --trace " +
                           here.write("t.jsonl", small_experts()) +
                           " --policy lru,moe,belady --capacity ";
  const json all = command_json(line + "2,3,4", 0);
  CHECK(all.at("results").size() == 9);
  for (const json &one : all.at("results"))
    CHECK(one.contains("warning") == (one.at("capacity_lockers") < 4));
  const auto people = command(line + "2,3,4");
  INFO(people.text);
  CHECK(people.text.find("capacity 2, 3: below one token's working set of 4") != std::string::npos);
  CHECK(command(line + "4").text.find("working set") == std::string::npos);
}

TEST_CASE("a trace that was to be written over is left as it was") {
  const folder here;
  const std::string trace = here.write("t.jsonl", small_experts());
  std::filesystem::create_symlink(trace, here.at("link.jsonl"));
  std::filesystem::create_hard_link(trace, here.at("hard.jsonl"));
  for (const std::string &to : {trace, here.at("link.jsonl"), here.at("hard.jsonl")})
    CHECK(command("replay --trace " + trace + " --write " + to).exit_status == 2);
  std::ifstream in(trace);
  CHECK(std::string(std::istreambuf_iterator<char>(in), {}) == small_experts());
}

TEST_CASE("replay loads a policy of one's own") {
  const folder here;
  const std::string trace = here.write("t.jsonl", small_experts());
  const json all = command_json("replay --simulate --trace " + trace +
                                    " --policy " CUBBY_FIFO_POLICY ",lru --capacity 25%,50%",
                                0);
  CHECK(result_of(all, "fifo", "25%").at("hits") == 0);
  CHECK(result_of(all, "fifo", "50%").at("hits") == 32);
  const auto refused = [&](const std::string &library, const std::string &said) {
    const auto ran = command("replay --simulate --trace " + trace + " --policy " + library);
    INFO(ran.text);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find(said) != std::string::npos);
  };
  refused("./absent.so", "could not be loaded");
  refused(here.write("text.so", "no library"), "could not be loaded");
}

TEST_CASE("replay batches: a slot that is through takes the next sequence") {
  const folder here;
  std::string text =
      R"({"model":"m","moe_layers":1,"experts_per_layer":4,"top_k":1,"sequences":3})";
  text += "\n{\"routed_experts\":[[[0]],[[0]],[[0]]]}\n{\"routed_experts\":[[[1]]]}\n";
  text += "{\"routed_experts\":[[[0]],[[2]]]}\n";
  const json all = command_json("replay --simulate --trace " + here.write("t.jsonl", text) +
                                    " --policy lru --capacity 4 --batch 2",
                                0);
  // {0,1}, {0} of both slots, {0,2}
  CHECK(all.at("accesses") == 5);
  CHECK(result_of(all, "lru", "4").at("hits") == 2);
}

TEST_CASE("replay says what is wrong, and where") {
  const folder here;
  const std::string good = here.write("good.jsonl", small_experts());
  const std::string head =
      R"({"model":"m","moe_layers":2,"experts_per_layer":8,"top_k":2,"sequences":1})"
      "\n";
  struct wrong {
    std::string arguments, said;
  };
  std::string layers, experts;
  for (int i = 0; i < 2000; ++i) {
    layers += "[1],";
    experts += std::to_string(i + 1) + ",";
  }
  const std::string half = small_experts().substr(0, 140);
  const std::vector<wrong> all = {
      {good + " --policy nobody", "there is no policy"},
      {good + " --policy nobody", "lru"},
      {good + " --policy kv", "not made for traces of experts"},
      {good + " --capacity 5%", "needs 2"},
      {here.write("kv.jsonl", small_kv) + " --capacity 0", "a single block needs one"},
      {good + " --write " + here.at("no/t"), "the folder " + here.at("no") + " is missing"},
      {good + " --write-oracle " + here.at("no/t"), "is missing; make it first"},
      {good + " --html " + here.at("no/t"), "is missing; make it first"},
      {good + " --write " + good + "/t", good + " is no folder"},
      {good + " --html " + here.path.string(), "no ordinary file"},
      {good + " --html ''", "it is empty"},
      {good + " --write ''", "it is empty"},
      {good + " --write " + good, "is the file of --trace"},
      {good + " --html " + here.path.string() + "/./good.jsonl", "is the file of --trace"},
      {good + " --html " + here.at("a") + " --write " + here.at("./a"), "is the file of --write"},
      {good + " --nosuch", "--nosuch"},
      {good + " word", "word"},
      {good + " --seed -1", "below 0"},
      {here.write("prefill.jsonl", head + "{\"prefill_tokens\":-1,"
                                          "\"routed_experts\":[[[0,1],[0,1]]]}"),
       "prefill_tokens is below 0"},
      {good + " --link host:1GB/s", "are for --timing"},
      {good + " --compute-ns 0", "are for --timing"},
      {good + " --tiers host:1m,file:.", "are for --io"},
      {good + " --capacity 200%", "more than all 16"},
      {good + " --capacity soon", "neither a share"},
      {good + " --batch 0", "batch"},
      {here.path.string() + "/absent.jsonl", "cannot be opened"},
      {here.write("empty.jsonl", ""), "holds no"},
      {here.write("half.jsonl", half), "line 2: byte"},
      {here.write("word.jsonl", "what\n"), "line 1: byte"},
      {here.write("number.jsonl", "7\n"), "line 1"},
      {here.write("else.jsonl", "{\"a\":[1,{\"b\":2}]}\n"), "neither routed_experts nor hash_ids"},
      {here.write("high.jsonl", head + "{\"routed_experts\":[[[0,8],[0,1]]]}"), "expert 8"},
      {here.write("huge.jsonl", head + "{\"routed_experts\":[[[0,99999],[0,1]]]}"), "line 2"},
      {here.write("twice.jsonl", head + "{\"routed_experts\":[[[3,3],[0,1]]]}"), "twice"},
      {here.write("mixed.jsonl", head + "{\"routed_experts\":[[[0,1],[0]]]}"), "line 2"},
      {here.write("layers.jsonl", head + "{\"routed_experts\":[[[0,1]]]}"), "1 layers"},
      {here.write("text.jsonl", head + "{\"routed_experts\":[[[\"a\",1],[0,1]]]}"), "a text"},
      {here.write("both.jsonl", head + small_kv), "line 2"},
      {here.write("deep.jsonl", head + "{\"routed_experts\":[[[[1]]]]}"), "deeper"},
      {here.write("head.jsonl", "{\"moe_layers\":1e9,\"experts_per_layer\":8,\"top_k\":2}\n"),
       "moe_layers"},
      {here.write("time.jsonl", "{\"timestamp\":-5,\"hash_ids\":[1]}\n"), "timestamp"},
      {here.write("a.csv", "token,layer,experts\n0,0,1 2\n0,x,3\n"), "line 3: column 3"},
      {here.write("b.csv", "0,0\n"), "line 1"},
      {here.write("c.csv", "0,0,1\n0,99999,1\n"), "line 2"},
      {here.write("d.csv", "0,0,1 1\n"), "twice"},
      {here.write("e.csv", "0,0,1\n0,0,2\n"), "line 2: layer 0 of token 0 is given twice"},
      {here.write("layers_max.jsonl", "{\"routed_experts\":[[" + layers + "[0]]]}"), "1024 layers"},
      {here.write("top_k_max.jsonl", "{\"routed_experts\":[[[" + experts + "0]]]}"), "256 experts"},
      {here.path.string(), "is a folder"},
      {here.write("bad.jsonl.xz", "this is no xz file at all"), "xz data"},
      {here.write("bad.jsonl.zst", "this is no zstd file at all"), "zstd data"},
  };
  for (const wrong &one : all) {
    INFO("replay --simulate --trace " << one.arguments);
    const auto ran = command("replay --simulate --trace " + one.arguments);
    CHECK(ran.exit_status == 2);
    CHECK(ran.text.find(one.said) != std::string::npos);
    if (ran.text.find(one.said) == std::string::npos) UNSCOPED_INFO(ran.text);
    CHECK(ran.text.find("hit ratio") == std::string::npos);
  }
  CHECK(command("replay --trace " + good).exit_status == 2);
  const auto absent = command("replay --simulate --trace " + here.at("absent.jsonl"));
  CHECK(absent.text.find("line 0") == std::string::npos);
  for (const auto &left : std::filesystem::directory_iterator(here.path))
    CHECK(left.path().string().find("partial") == std::string::npos);
}

TEST_CASE("A folder that may not be written to is reported before the trace is replayed") {
  const folder here;
  const std::string trace = here.write("t.jsonl", small_experts());
  std::filesystem::create_directory(here.at("shut"));
  std::filesystem::permissions(
      here.at("shut"), std::filesystem::perms::owner_read | std::filesystem::perms::owner_exec);
  const auto ran =
      command("replay --simulate --quiet --trace " + trace + " --html " + here.at("shut/p.html"));
  if (geteuid() == 0) {
    CHECK(ran.exit_status == 0);  // who may write everywhere
    return;
  }
  CHECK(ran.exit_status == 2);
  CHECK(ran.text.find("may not write to the folder") != std::string::npos);
  CHECK(ran.text.find("hit ratio") == std::string::npos);
}

TEST_CASE("replay says that a packed trace is cut off") {
  const folder here;
  here.write("t.jsonl", small_experts() + std::string(100000, ' '));
  const std::string name = here.path.string() + "/t.jsonl.xz";
  REQUIRE(process::shell("xz " + here.path.string() + "/t.jsonl").exit_status == 0);
  std::filesystem::resize_file(name, std::filesystem::file_size(name) - 20);
  const auto ran = command("replay --simulate --trace " + name);
  CHECK(ran.exit_status == 2);
  CHECK(ran.text.find("end too early") != std::string::npos);
}

TEST_CASE("replay unpacks no bomb") {
  const folder here;
  const std::string name = here.path.string() + "/t.jsonl.xz";
  REQUIRE(process::shell("head -c 100000000 /dev/zero | tr '\\0' ' ' | xz > " + name).exit_status ==
          0);
  const auto ran = command("replay --simulate --trace " + name);
  INFO(ran.text);
  CHECK(ran.exit_status == 2);
  CHECK(ran.text.find("1000 times its size") != std::string::npos);
}

TEST_CASE("The counting rules reproduce the published columns", "[traces]") {
  const std::string folder_name = CUBBY_TRACES_DIR;
  const std::string experts = folder_name + "/routing/deepseek-v2-lite.intent.jsonl.xz";
  const std::string blocks = folder_name + "/kv/mooncake_conversation_trace.b512.jsonl.xz";
  if (!std::filesystem::exists(experts) || !std::filesystem::exists(blocks)) {
    WARN("skipped: there are no traces in " << folder_name << "; set CUBBY_TRACES_DIR");
    return;
  }
  const json of_experts = command_json(
      "replay --simulate --trace " + experts + " --policy lru,belady,moe --capacity 10%,25%,50%",
      0);
  const auto percent = [](const json &all, const char *policy, const char *capacity) {
    return 100 * result_of(all, policy, capacity).at("hit_ratio").get<double>();
  };
  const std::map<std::string, std::array<double, 3>> wanted = {
      {"10%", {26.7, 50.3, 42.8}}, {"25%", {48.5, 72.7, 64.2}}, {"50%", {72.5, 89.0, 82.5}}};
  for (const auto &[capacity, figures] : wanted) {
    INFO(capacity);
    CHECK(percent(of_experts, "lru", capacity.c_str()) == Approx(figures[0]).margin(0.06));
    CHECK(percent(of_experts, "belady", capacity.c_str()) == Approx(figures[1]).margin(0.1));
    CHECK(percent(of_experts, "moe", capacity.c_str()) > figures[2] - 0.3);
  }
  const json of_blocks = command_json(
      "replay --simulate --trace " + blocks + " --policy lru,belady,kv --capacity 1%,5%", 0);
  CHECK(percent(of_blocks, "lru", "1%") == Approx(5.2).margin(0.06));
  CHECK(percent(of_blocks, "belady", "1%") == Approx(24.6).margin(0.06));
  CHECK(percent(of_blocks, "kv", "1%") > 10.9 - 0.3);
  CHECK(percent(of_blocks, "lru", "5%") == Approx(19.6).margin(0.06));
  CHECK(percent(of_blocks, "kv", "5%") > 22.8 - 0.3);
}

TEST_CASE("Results do not depend on threads, nor on who watches") {
  const folder here;
  std::string many = "token,layer,experts\n";
  for (int token = 0; token < 3000; ++token)
    for (int layer = 0; layer < 3; ++layer)
      many += std::to_string(token) + "," + std::to_string(layer) + "," +
              std::to_string(token * (layer + 3) % 11) + " " +
              std::to_string(11 + token * token % 13) + "\n";
  const std::string line = "replay --simulate --trace " + here.write("t.csv", many) +
                           " --policy all --capacity 10%,30%,60% --seed 5 ";
  const auto run = [&](const std::string &more) {
    json all = command_json(line + more, 0);
    for (json &one : all["results"]) one.erase("ns_per_visit");
    return all;
  };
  const json one = run("--threads 1");
  for (const char *threads : {"2", "5", "200"})
    CHECK(run(std::string("--threads ") + threads) == one);
  json watched = run("--timing --compute-ns 7 --link host:1GB/s --html " + here.at("page.html"));
  REQUIRE(watched["results"].size() == one["results"].size());
  for (size_t i = 0; i < one["results"].size(); ++i)
    for (const auto &[name, value] : one["results"][i].items()) {
      INFO(name);
      CHECK(watched["results"][i][name] == value);
    }
  CHECK(command(line + "--threads 0").exit_status == 2);
}

}  // namespace replay_test
