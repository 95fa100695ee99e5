// What is said to the command counts, or is refused: an option that is left out without a word
// makes a right number the answer to another question.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>
#include <vector>

#include "cli/folder.hpp"
#include "cli/process.hpp"

namespace arguments_test {

namespace {
using nlohmann::json;
using process::command;
using process::command_json;
using process::folder;
namespace fs = std::filesystem;

/// Refused with exit 2 and a sentence that has all these parts.
void refuses(const std::string &arguments, const std::vector<std::string> &parts) {
  const process::outcome found = command(arguments);
  INFO(arguments << " said: " << found.text);
  CHECK(found.exit_status == 2);
  for (const std::string &part : parts) CHECK(found.text.find(part) != std::string::npos);
}

const std::string gpt = "plan --model gpt-oss-120b --profile h100 ";
const std::string llama = "plan --model llama-3-70b --profile h100 ";

json mixtral() {
  return {{"model_type", "mixtral"},
          {"hidden_size", 4096},
          {"num_hidden_layers", 32},
          {"num_attention_heads", 32},
          {"num_key_value_heads", 8},
          {"intermediate_size", 14336},
          {"num_local_experts", 8},
          {"num_experts_per_tok", 2},
          {"vocab_size", 32000},
          {"torch_dtype", "bfloat16"},
          {"max_position_embeddings", 32768}};
}

/// Bytes of all weights of such a model.
double weights(const folder &in, const json &config) {
  const json found = command_json(
      "plan --profile h100 --model " + in.write("config.json", config.dump()), 0)["model"];
  return found["routed_experts_bytes"].get<double>() + found["dense_bytes"].get<double>();
}

void refuses_config(const folder &in, const json &config, const std::vector<std::string> &parts) {
  INFO(config.dump());
  refuses("plan --profile h100 --model " + in.write("config.json", config.dump()), parts);
}

std::string routes(const folder &in, size_t sequences, size_t tokens) {
  std::string text =
      json{{"model", "t"}, {"moe_layers", 2}, {"experts_per_layer", 8}, {"top_k", 2}}.dump() + '\n';
  for (size_t s = 0; s < sequences; s++) {
    json lines = json::array();
    for (size_t t = 0; t < tokens; t++)
      lines.push_back({{(s + t) % 8, (s + t + 1) % 8}, {(s * t) % 8, (s * t + 3) % 8}});
    text += json{{"prefill_tokens", 0}, {"routed_experts", lines}}.dump() + '\n';
  }
  return in.write("routes.jsonl", text);
}

std::vector<fs::path> bench_folders(const folder &in) {
  std::vector<fs::path> found;
  for (const auto &one : fs::directory_iterator(in.path))
    if (one.path().filename().string().starts_with("cubby-bench-kv-")) found.push_back(one.path());
  return found;
}

}  // namespace

TEST_CASE("Numbers are read as they are written") {
  refuses(gpt + "--users 010", {"010", "give 10"});
  refuses("make-model --out x.gguf --seed 18446744073709551616", {"18446744073709551615"});
  CHECK(command_json(gpt + "--users 8", 0)["load"]["users"]["value"] == 8);
}

TEST_CASE("plan has no figures where the model has no place") {
  const std::string small =
      "plan --model deepseek-v4-pro --profile desktop-24gb --budget nvme:0=100GB";
  const json found = command_json(small, 0);
  const json &here = found["plan"];
  CHECK(here["fits"] == false);
  CHECK(here["missing_bytes"] > 6e11);
  for (const char *figure :
       {"tokens_per_s", "sustained_tokens_per_s", "token_s", "stall_share", "first_token_s",
        "usd_per_million_tokens", "joules_per_token", "joules_per_million_tokens", "drive"}) {
    INFO(figure);
    REQUIRE(here.contains(figure));
    CHECK(here[figure].is_null());
  }
  for (const json &step : found["chain"]) CHECK(step["name"] != "tokens a second");
  CHECK(found["break_even"]["reuse"]["at"].is_null());
  CHECK(command(small + " --explain").text.find("tokens a second") == std::string::npos);
  CHECK(command_json("plan --model deepseek-v4-pro --profile desktop-24gb",
                     0)["plan"]["tokens_per_s"] > 0);
}

TEST_CASE("plan takes every type that it names") {
  const json q4 = command_json(gpt + "--expert-type q4_0 --dense-type Q8_0", 0)["model"];
  const json mx = command_json(gpt + "--expert-type mxfp4", 0)["model"];
  CHECK(std::abs(q4["routed_experts_bytes"].get<double>() / 0.5625 -
                 mx["routed_experts_bytes"].get<double>() / 0.53125) < 1);
}

TEST_CASE("plan refuses options that would change nothing") {
  refuses(gpt + "--policy lru", {"--policy", "--trace"});
  refuses(gpt + "--kv-memory 50%", {"--kv-memory", "--kv-trace"});
  refuses(gpt + "--kv-own-ns 5", {"--kv-own-ns", "--kv-trace"});
  refuses(gpt + "--hit 50 --routing uniform", {"--hit and --routing", "give one"});
  refuses(gpt + "--hit 50 --trace x", {"--hit and --trace", "give one"});
  refuses(gpt + "--price-usd 5 --usd-per-hour 3", {"--price-usd", "--usd-per-hour", "give one"});
  refuses(gpt + "--price host:0=1 --price host:0=2", {"host:0 twice"});
  refuses(gpt + "--budget device:0=20GB,device:0=30GB", {"device:0 twice"});
  refuses(gpt + "--endurance host:0=5", {"does not wear out", "drive"});
  for (const char *option : {"--hit 50", "--routing uniform", "--lookahead 1", "--overlap 50",
                             "--expert-type q8_0", "--experts-alone"})
    refuses(llama + option, {option == std::string("--expert-type q8_0") ? "--expert-type" : "--",
                             "has no experts"});
  refuses("plan --profile h100 --kv-trace x --users 5", {"--users", "leave it out"});
  const json rented = command_json(gpt + "--usd-per-kwh 0.4 --price host:0=100", 0);
  CHECK(rented["notes"].dump().find("--usd-per-kwh does not change the price") !=
        std::string::npos);
  CHECK(rented["notes"].dump().find("--price host:0 counts for") != std::string::npos);
}

TEST_CASE("plan reads the file that is named, not the config beside it") {
  const folder here;
  here.write("config.json", mixtral().dump());
  json other = mixtral();
  other["num_hidden_layers"] = 16;
  const std::string named = here.write("other.json", other.dump());
  const json found = command_json("plan --profile h100 --model " + named, 0);
  CHECK(found["model"]["kv_bytes_per_token"] == 16 * 2 * 8 * 128 * 2);
}

TEST_CASE("plan takes the bytes of weights from how a config says they are quantised") {
  const folder here;
  const double plain = weights(here, mixtral());
  const auto with = [&](const json &quantization) {
    json config = mixtral();
    config["quantization_config"] = quantization;
    return weights(here, config) / plain;
  };
  CHECK(std::abs(with({{"quant_method", "fp8"}}) - 0.5) < 1e-9);
  CHECK(std::abs(with({{"quant_method", "gptq"}, {"bits", 8}}) - 0.5) < 1e-9);
  CHECK(std::abs(with({{"quant_method", "gptq"}, {"bits", 4}}) - 0.28125) < 1e-9);
  CHECK(std::abs(with({{"quant_method", "bitsandbytes"}, {"load_in_4bit", true}}) - 0.28125) <
        1e-9);
  const json eight = {{"num_bits", 8}, {"type", "float"}};
  CHECK(std::abs(with({{"quant_method", "compressed-tensors"},
                       {"config_groups", {{"group_0", {{"weights", eight}}}}}}) -
                 0.5) < 1e-9);
  json wide = mixtral();
  wide.erase("torch_dtype");
  wide["dtype"] = "float32";
  CHECK(std::abs(weights(here, wide) / plain - 2) < 1e-9);

  json strange = mixtral();
  strange["quantization_config"] = {{"quant_method", "squeeze"}};
  refuses_config(here, strange, {"squeeze", "--dense-type", "--expert-type"});
  const std::string path = here.write("config.json", strange.dump());
  CHECK(command_json("plan --profile h100 --dense-type bf16 --expert-type int4 --model " + path, 0)
            .contains("plan"));
}

TEST_CASE("plan refuses a geometry that keeps nothing of a token or cannot be shared out") {
  const folder here;
  const auto with = [&](const char *key, const json &value) {
    json config = mixtral();
    config[key] = value;
    return config;
  };
  refuses_config(here, with("num_key_value_heads", 0), {"--geometry kv-heads=N"});
  refuses_config(here, with("head_dim", 0), {"--geometry head-dim=N"});
  refuses_config(here, with("num_hidden_layers", 1.5), {"--geometry layers=N"});
  refuses_config(here, with("num_key_value_heads", 64), {"32 query heads cannot share 64"});
  refuses_config(here, with("num_key_value_heads", 7), {"32 query heads cannot share 7"});
  json dense = mixtral();
  dense.erase("num_local_experts");
  refuses_config(here, dense, {"--geometry experts=N"});
}

TEST_CASE("A profile in which something takes no time or for ever is refused") {
  const folder here;
  json profile = {
      {"format", "cubby-profile"},
      {"version", 1},
      {"tiers",
       {{{"name", "host:0"},
         {"kind", "host"},
         {"capacity_bytes", 16e9},
         {"read", {{"bytes_per_s", 10e9}, {"latency_ns", 100}}},
         {"origin", "measured"}}}},
      {"compute", {{"where", "cpu"}, {"product_bytes_per_s", 9e9}, {"origin", "measured"}}},
      {"verify", {{"digest_bytes_per_s", 5e9}}}};
  const auto plan = [&] {
    return "plan --model olmoe-1b-7b --profile " + here.write("p.json", profile.dump());
  };
  CHECK(command(plan()).exit_status == 0);
  profile["verify"]["digest_bytes_per_s"] = 0;
  refuses(plan(), {"verify.digest_bytes_per_s", "above 0"});
  profile["verify"]["digest_bytes_per_s"] = 5e9;
  profile["tiers"][0]["read"]["latency_ns"] = 1e300;
  refuses(plan(), {"latency_ns", "10^21"});
}

TEST_CASE("replay --matrix takes nothing beside its file") {
  const folder here;
  routes(here, 2, 20);
  const std::string path =
      here.write("m.toml", "traces = [\"routes.jsonl\"]\npolicies = [\"lru\"]\n");
  for (const char *option : {"--policy lfu", "--capacity 5", "--limit 3", "--batch 2", "--seed 3",
                             "--write-oracle x", "--link host:1GB/s,1us", "--object-bytes 5"})
    refuses("replay --matrix " + path + ' ' + option, {"--matrix says in its file"});
  CHECK(command_json("replay --matrix " + path + " --threads 1 --quiet", 0)["cells"] == 3);
}

TEST_CASE("A matrix has a cell once, and no settings that no cell has a use for") {
  const folder here;
  routes(here, 2, 20);
  const std::string begin = "traces = [\"routes.jsonl\", \"routes.jsonl\"]\npolicies = [\"lru\"]\n";
  const std::string twice =
      here.write("m.toml", begin + "capacities = [\"50%\", \"50%\", \"100%\"]\n");
  const json found = command_json("replay --matrix " + twice, 0);
  CHECK(found["cells"] == 2);
  CHECK(found["added"] == 2);
  refuses("replay --matrix " + here.write("l.toml", begin + "lookahead = 1\n"), {"for links"});
}

TEST_CASE("replay has as many sequences side by side as it says") {
  const folder here;
  const std::string trace = "replay --simulate --policy lru --trace " + routes(here, 3, 10);
  CHECK(command_json(trace + " --capacity 50% --batch 3", 0)["results"][0]["batch"] == 3);
  const json fewer = command_json(trace + " --capacity 50% --batch 4", 0);
  CHECK(fewer["results"][0]["batch"] == 3);
  CHECK(fewer["notes"].dump().find("has 3 sequences") != std::string::npos);
  CHECK(command_json(trace + " --capacity 50% --batch 2 --limit 10", 0)["results"][0]["batch"] ==
        1);
  refuses(trace + " --capacity 50% --forecast repeat", {"--forecast", "--lookahead 1"});
  refuses(trace + " --capacity 5.5", {"5.5", "whole number"});
  CHECK(command_json(trace + " --capacity 50%,50%", 0)["results"].size() == 1);
}

TEST_CASE("characterize takes an empty name for none, and a directory for one") {
  const folder here;
  fs::create_directory(here.path / "d");
  fs::create_directory_symlink("d", here.path / "link");
  const std::string tiny = "characterize --quick --size 1m --runtime 0.001 ";
  refuses(tiny + "--save ''", {"--save", "empty"});
  refuses(tiny + "--html ''", {"--html", "empty"});
  const process::outcome fit = command(tiny + "--dir " + here.at("d"));
  if (fit.exit_status != 0) {
    WARN("SKIPPED: " << fit.text);
    return;
  }
  refuses(tiny + "--dir " + here.at("d") + " --dir " + here.at("link"), {"named twice"});
  refuses(tiny + "--dir " + here.at("d") + " --dir " + here.at("./d/"), {"named twice"});
}

TEST_CASE("run takes no budget that lacks its unit") {
  refuses("run --host-budget 12 --no-preload -- true", {"\"12\"", "12GiB"});
}

TEST_CASE("top says that a process shows nothing") {
  const process::outcome found = command("top " + std::to_string(getpid()));
  CHECK(found.exit_status != 0);
  CHECK(found.text.find("shows no metrics") != std::string::npos);
}

TEST_CASE("bench kv leaves no folder when it is asked to end") {
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    const folder here;
    const pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
      // A test may be run by something that ignores them.
      for (const int one : {SIGINT, SIGTERM, SIGHUP}) ::signal(one, SIG_DFL);
      execl(CUBBY_COMMAND, CUBBY_COMMAND, "bench", "kv", "--rows", "gets", "--bytes", "64m",
            "--rounds", "1000", "--json", "--dir", here.path.c_str(), nullptr);
      _exit(127);
    }
    bool made = false;
    for (int i = 0; i < 3000 && !made; i++) {
      const auto folders = bench_folders(here);
      made = !folders.empty() && !fs::is_empty(folders[0]);
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
    CHECK(made);
    // The signal by which the thread that waits for the others is asked to end comes from anybody.
    CHECK(kill(child, SIGUSR2) == 0);
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    CHECK(kill(child, signal) == 0);
    int status = 0;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFSIGNALED(status));
    CHECK(WTERMSIG(status) == signal);
    CHECK(bench_folders(here).empty());
  }
}

}  // namespace arguments_test
