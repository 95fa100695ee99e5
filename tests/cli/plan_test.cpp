// `cubby plan` as people run it.
#include <cmath>
#include <fstream>
#include <sstream>

#include "cli/folder.hpp"
#include "cli/process.hpp"

namespace plan_test {

namespace {
using nlohmann::json;
using process::command;
using process::command_json;
using process::folder;

bool mentions(const std::string &text, const std::string &part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

bool close(double a, double b) { return std::abs(a - b) <= 1e-9 * std::abs(b); }

const std::string on_desktop = "plan --model qwen3-30b-a3b --profile desktop-24gb ";

/// Refused with exit 2 and a sentence that has all these parts.
void refuses(const std::string &arguments, const std::vector<std::string> &parts) {
  const process::outcome found = command(arguments);
  INFO(arguments);
  CHECK(found.exit_status == 2);
  for (const std::string &part : parts) CHECK(mentions(found.text, part));
}

json profile_file() {
  return {{"format", "cubby-profile"},
          {"version", 1},
          {"made", {{"by", "test"}, {"at", "2026-11-29T14:00:00Z"}, {"quick", true}}},
          {"machine", {{"host", "h"}, {"cpu", "c"}, {"processors", 2}, {"numa_nodes", 1}}},
          {"tiers",
           {{{"name", "host:0"},
             {"kind", "host"},
             {"where", "node 0"},
             {"capacity_bytes", 16e9},
             {"read",
              {{"bytes_per_s", 10e9},
               {"latency_ns", 100},
               {"block_bytes", 1048576},
               {"depth", 1},
               {"joules_per_byte", nullptr}}},
             {"origin", "measured"},
             {"source", "cubby characterize"}},
            {{"name", "file:0"},
             {"kind", "file"},
             {"where", "/d"},
             {"capacity_bytes", 100e9},
             {"read",
              {{"bytes_per_s", 1e9},
               {"latency_ns", 80000},
               {"block_bytes", 1048576},
               {"depth", 8},
               {"joules_per_byte", nullptr}}},
             {"curves",
              {{{"op", "read"},
                {"path", "cubby"},
                {"beside", "nothing"},
                {"block_bytes", 1048576},
                {"depth", 16},
                {"bytes_per_s", 2e9}},
               {{"op", "read"},
                {"path", "bare"},
                {"beside", "nothing"},
                {"block_bytes", 1048576},
                {"depth", 16},
                {"bytes_per_s", 3e9}}}},
             {"origin", "measured"},
             {"source", "cubby characterize"}}}},
          {"compute",
           {{"where", "cpu"},
            {"product_bytes_per_s", 8e9},
            {"origin", "measured"},
            {"source", "cubby characterize"}}}};
}

json tier(const json &plan, const std::string &name) {
  for (const json &one : plan["tiers"])
    if (one["name"] == name) return one;
  return nullptr;
}

}  // namespace

TEST_CASE("plan says in words and tables whether offload pays") {
  const auto found = command(on_desktop + "--context 4096 --slo 10000:60 --explain");
  CHECK(found.exit_status == 0);
  for (const char *part : {"Offload pays here", "routed experts", "tokens a second", "break-even",
                           "roofline", "arXiv 2508.06978", "measured", "assumed"})
    CHECK(mentions(found.text, part));
  const auto list = command("plan --list");
  CHECK(list.exit_status == 0);
  for (const char *part : {"deepseek-v4-pro", "vr-nvl72", "robotics", "gpt-5.5"})
    CHECK(mentions(list.text, part));
}

TEST_CASE("plan --json is one object whose sums fit") {
  const json found = command_json(on_desktop + "--users 4 --context 4096", 0);
  const json &plan = found["plan"];
  CHECK(plan["fits"] == true);
  for (const json &part : plan["parts"]) {
    double placed = 0;
    for (const json &bytes : part["placed_bytes"]) placed += bytes.get<double>();
    CHECK(std::abs(placed - part["bytes"].get<double>()) < 1);
  }
  for (const json &one : plan["tiers"])
    CHECK(one["used_bytes"].get<double>() <= one["budget_bytes"].get<double>() * 1.000001);
  CHECK(close(plan["tokens_per_s"], 4 / plan["token_s"].get<double>()));
  CHECK(found["resident_devices"] > 1);
  CHECK(found["resident"]["stall_share"] == 0);
  CHECK(found["resident"]["tokens_per_s"] > plan["tokens_per_s"]);
  for (const json &one : found["chain"]) CHECK(one["source"] != "");
  for (const char *name : {"fast_users", "users", "hits_money", "hits_time", "context", "reuse"})
    CHECK(found["break_even"].contains(name));
}

TEST_CASE("plan says plainly that nothing is to be gained, or that experts on SSD cost joules") {
  const json fits = command_json("plan --model gpt-oss-20b --profile h100", 0);
  CHECK(fits["verdict"]["verdict"] == "does not pay");
  CHECK(mentions(fits["verdict"]["reason"], "nothing to gain by offload"));
  const json energy = command_json("plan --model deepseek-r1 --profile h100 --context 1024", 0);
  bool said = false;
  for (const json &one : energy["verdicts"])
    said = said || (one["respect"] == "energy" && one["verdict"] == "does not pay");
  CHECK(said);
}

TEST_CASE("plan admits tiers by the class of latency") {
  const json chat = command_json("plan --model deepseek-v3 --profile h100 --slo chat", 0);
  CHECK(tier(chat["plan"], "nvme:0")["serves_steps"] == false);
  CHECK(tier(chat["plan"], "nvme:0")["excluded"] != "");
  const json batch = command_json("plan --model deepseek-v3 --profile h100 --slo batch", 0);
  CHECK(tier(batch["plan"], "nvme:0")["serves_steps"] == true);
  const json own = command_json(on_desktop + "--slo 5000:0.001", 0);
  CHECK(own["load"]["slo"]["token_s"] == 1e-6);
  CHECK(own["verdict"]["verdict"] == "does not pay");
}

TEST_CASE("plan takes a measured profile, and the library's own curve of it") {
  const folder here;
  const std::string path = here.write("p.json", profile_file().dump());
  const json found =
      command_json("plan --model gpt-oss-120b --profile " + path + " --budget host:0=12GB", 0);
  const json disk = tier(found["plan"], "file:0");
  CHECK(disk["bytes_per_s"] == 2e9);
  CHECK(mentions(disk["way"], "cubby reads of 1048576 B, 16 at a time"));
  CHECK(tier(found["plan"], "host:0")["budget_bytes"] == 12e9);
  CHECK(found["plan"]["usd_per_million_tokens"].is_null());
  CHECK(mentions(found["plan"]["usd_basis"], "--price-usd"));
  const json priced = command_json("plan --model gpt-oss-120b --profile " + path +
                                       " --price-usd 2000 --watt 200 --reuse 50 --sessions 20 "
                                       "--endurance file:0=100",
                                   0);
  CHECK(priced["plan"]["usd_per_million_tokens"] > 0);
  CHECK(priced["plan"]["joules_per_token"] > 0);
  CHECK(priced["plan"]["drive"]["years"] > 0);
}

TEST_CASE("plan does without tiers that were not measured, and says so") {
  const folder here;
  json file = profile_file();
  json device = file["tiers"][0];
  device["name"] = "device:0";
  device["kind"] = "device";
  device["capacity_bytes"] = nullptr;
  device["read"] = nullptr;
  json unread = file["tiers"][1];
  unread["name"] = "file:1";
  unread["read"] = nullptr;
  file["tiers"].insert(file["tiers"].begin(), device);
  file["tiers"].push_back(unread);
  const std::string path = here.write("g.json", file.dump());
  const json found = command_json("plan --model gpt-oss-20b --profile " + path, 0);
  CHECK(found["plan"]["tiers"].size() == 2);
  CHECK(found["plan"]["tiers"][0]["name"] == "host:0");
  CHECK(mentions(found["notes"].dump(), "device:0 is left out: products read in host:0"));
  CHECK(mentions(found["notes"].dump(), "file:1 is left out: how fast it reads"));
  file["compute"] = {{"where", "H100"}, {"product_bytes_per_s", 2e12}, {"origin", "assumed"}};
  refuses("plan --model gpt-oss-20b --profile " + here.write("d.json", file.dump()),
          {"capacity_bytes of device:0", "--budget device:0=SIZE"});
  file["compute"] = nullptr;
  refuses("plan --model gpt-oss-20b --profile " + here.write("n.json", file.dump()),
          {"compute.where", "compute.product_bytes_per_s", "capacity_bytes of device:0"});
}

TEST_CASE("Memory of several processors is one, that of nodes without any stays apart") {
  const folder here;
  json file = profile_file();
  for (const char *name : {"host:1", "host:2"}) {
    json node = file["tiers"][0];
    node["name"] = name;
    file["tiers"].push_back(node);
    file["links"].push_back({{"from", name},
                             {"to", "host:0"},
                             {"bytes_per_s", 4e9},
                             {"latency_ns", 1000},
                             {"origin", "measured"},
                             {"source", "test"}});
  }
  file["machine"]["topology"] = {
      {{"type", "numa_node"}, {"number", 0}, {"processors", {0, 1}}},
      {{"type", "numa_node"}, {"number", 1}, {"processors", {2, 3}}},
      {{"type", "numa_node"}, {"number", 2}, {"processors", json::array()}}};
  const std::string plan =
      "plan --model gpt-oss-20b --profile " + here.write("s.json", file.dump());
  const json found = command_json(plan, 0);
  REQUIRE(found["plan"]["tiers"].size() == 3);
  CHECK(tier(found["plan"], "host:0")["budget_bytes"] == 0.9 * 32e9);
  CHECK(tier(found["plan"], "host:2")["bytes_per_s"] == 4e9);
  CHECK(mentions(found["notes"].dump(), "host:1 is counted in host:0"));
  CHECK(command_json(plan + " --budget host:0=30GB", 0)["plan"]["fits"] == true);
  refuses(plan + " --budget host:1=1GB", {"host:1", "host:0, file:0, host:2"});
}

TEST_CASE("plan takes budgets, prices and watts of one device") {
  const std::string base = "plan --model gpt-oss-20b --profile desktop-24gb --price-usd 2000 ";
  const json one = command_json(base + "--watt 300", 0);
  const json two = command_json(base + "--watt 300 --devices 2", 0);
  CHECK(mentions(one["plan"]["usd_basis"], "$2000 over 4 years, and 300 W"));
  CHECK(mentions(two["plan"]["usd_basis"], "$4000 over 4 years, and 600 W for all 2 devices"));
  refuses(base + "--devices 4 --budget device:0=30GB", {"is 30 GB", "has 24 GB", "one device"});
}

TEST_CASE("plan replays recorded routing through a policy") {
  const folder here;
  std::string text = "token,layer,experts\n";
  for (int token = 0; token < 40; token++)
    for (int layer = 0; layer < 2; layer++)
      text += std::to_string(token) + "," + std::to_string(layer) + ",\"" +
              std::to_string(token % 4) + " " + std::to_string(4 + token % 2) + "\"\n";
  for (int expert = 0; expert < 8; expert++)
    text += std::to_string(40 + expert) + ",0," + std::to_string(expert) + "\n" +
            std::to_string(40 + expert) + ",1," + std::to_string(expert) + "\n";
  const std::string trace = here.write("t.csv", text);
  const std::string model =
      "plan --model by-hand --geometry layers=2,hidden=4096,heads=32,kv-heads=8,vocab=32000,"
      "experts=8,top-k=2,expert-size=14336 --profile desktop-24gb --budget device:0=3GB ";
  const json found = command_json(model + "--policy lru --trace " + trace, 0);
  CHECK(found["plan"]["expert_hits"] > 0);
  bool named = false;
  for (const json &one : found["chain"])
    named = named || (one["origin"] == "measured" &&
                      one["source"].get<std::string>().find("policy lru") != std::string::npos);
  CHECK(named);
  refuses(on_desktop + "--trace " + trace, {"2 layers of 8 experts", "record the model itself"});
  refuses(model + "--policy nonsense --trace " + trace, {"there is no policy"});
  refuses("plan --model llama-3-70b --profile h100 --trace " + trace, {"has none"});
}

TEST_CASE("plan --html stands alone and holds the object") {
  const folder here;
  const std::string page = here.at("p.html");
  CHECK(command(on_desktop + "--users 4 --html " + page).exit_status == 0);
  std::stringstream text;
  text << std::ifstream(page).rdbuf();
  CHECK(mentions(text.str(), "content=\"cubby plan\""));
  CHECK(mentions(text.str(), "<svg"));
  for (const char *outside : {"src=", "href=", "url(", "@import", "<link"})
    CHECK(text.str().find(outside) == std::string::npos);
  CHECK(text.str().find("{{") == std::string::npos);
  CHECK(command(on_desktop + "--html " + page).exit_status == 0);  // its own is replaced
  here.write("other.html", "mine");
  CHECK(command(on_desktop + "--html " + here.at("other.html")).exit_status == 2);
}

TEST_CASE("plan prices prompts as a provider does") {
  const json found = command_json(
      "plan --model deepseek-v4-pro --profile vr-nvl72 --context 1000000 --reuse 90 "
      "--input-price deepseek-v4-pro",
      0);
  const json &price = found["input_price"];
  CHECK(close(price["usd_all_found"], 0.003625));
  CHECK(close(price["usd_none_found"], 0.435));
  CHECK(close(price["usd"], 0.9 * 0.003625 + 0.1 * 0.435));
}

TEST_CASE("plan refuses what cannot be, with cause and remedy") {
  refuses("plan", {"--model", "--profile", "--list"});
  refuses("plan --model nonsense --profile h100", {"nonsense", "mixtral-8x7b", "by-hand"});
  refuses("plan --model mixtral-8x7b --profile nonsense", {"nonsense", "h100", "characterize"});
  refuses(on_desktop + "--context 50000", {"50000", "40960", "give less"});
  refuses(on_desktop + "--context 0", {"context"});
  refuses(on_desktop + "--price nvme:0=-1", {"below 0"});
  refuses(on_desktop + "--price-usd -5", {"below 0"});
  refuses(on_desktop + "--usd-per-hour free", {"free", "no number"});
  refuses(on_desktop + "--usd-per-kwh nan", {"no number"});
  refuses(on_desktop + "--budget device:0=900GB", {"900", "24 GB", "--devices"});
  refuses(on_desktop + "--budget device:0=0", {"no part of a model"});
  refuses(on_desktop + "--budget device:0=lots", {"lots", "20GiB"});
  refuses(on_desktop + "--budget device:9=1GB", {"device:9", "device:0, host:0, nvme:0"});
  refuses(on_desktop + "--budget 1GB", {"TIER=VALUE"});
  refuses(on_desktop + "--reuse 120", {"120", "100"});
  refuses(on_desktop + "--hit 101", {"101"});
  refuses(on_desktop + "--slo warp", {"warp", "robotics", "500:50"});
  refuses(on_desktop + "--slo 5:-1", {"below 0"});
  refuses(on_desktop + "--kv float", {"float", "bf16"});
  refuses(on_desktop + "--routing magic", {"magic", "zipf"});
  refuses(on_desktop + "--sessions 2 --users 5", {"--sessions 2", "--users 5"});
  refuses(on_desktop + "--years 0", {"out of bounds"});
  refuses(on_desktop + "--users 0", {"users"});
  refuses(on_desktop + "--expert-type q1", {"q1", "mxfp4"});
  refuses(on_desktop + "--html /no/such/folder/p.html", {"/no/such/folder"});
}

TEST_CASE("plan refuses a profile of another version, or one that is not whole") {
  const folder here;
  json file = profile_file();
  file["version"] = 7;
  refuses("plan --model gpt-oss-20b --profile " + here.write("v.json", file.dump()), {"7"});
  file = profile_file();
  file.erase("compute");
  refuses("plan --model gpt-oss-20b --profile " + here.write("c.json", file.dump()),
          {"products", "cubby characterize"});
  refuses("plan --model gpt-oss-20b --profile " + here.write("x.json", "{"), {"x.json"});
  file = profile_file();
  file["tiers"][0]["kind"] = "device";
  file["compute"]["where"] = "gpu";
  refuses("plan --model gpt-oss-20b --profile " + here.write("l.json", file.dump()),
          {"no link from file:0"});
}

}  // namespace plan_test
