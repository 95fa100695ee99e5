// cubby bench decode as people run it, on a small model: every field of its JSON, one output for
// every way, and refusals that say what to do.
#include <filesystem>
#include <fstream>

#include "cli/process.hpp"
#include "unit/store/scratch.hpp"

namespace bench_decode_test {

using nlohmann::json;
using process::command;
using process::command_json;

namespace {

constexpr uint32_t layers = 4, experts = 8, top_k = 2, tokens = 12;

std::string make_model(const scratch::folder &folder, const std::string &more = "--mixed-quant") {
  const std::string path = folder.path("m.gguf");
  REQUIRE(command("make-model --layers 4 --experts 8 --top-k 2 --hidden 256 --ffn 192 " + more +
                  " --out " + path)
              .exit_status == 0);
  return path;
}

std::string decode(const std::string &path, const std::string &more = "") {
  return "bench decode --model " + path + " --tokens 12 " + more;
}

}  // namespace

TEST_CASE("the JSON has every field, and its counts add up") {
  const scratch::folder folder;
  const json all = command_json(decode(make_model(folder)), 0);
  INFO(all.dump(1));
  for (const char *field :
       {"tokens", "tokens_per_s", "bound_tokens_per_s", "output_digest", "identical",
        "compute_gb_per_s", "cpu_s", "peak_rss_bytes", "device", "tiers", "visits",
        "visits_dropped", "unverified_bytes", "bytes_by_cause", "stall", "path", "baselines"})
    CHECK(all.contains(field));
  CHECK(all["tokens"] == tokens);
  CHECK(all["identical"] == true);
  CHECK(all["visits"].get<uint64_t>() + all["visits_dropped"].get<uint64_t>() == tokens * layers);
  CHECK(all["device"] == json({{"name", "device:0"}, {"emulated", true}}));
  CHECK(all["stall"].contains("share"));
  CHECK(all["stall"]["by_cause_ns"].is_object());
  for (const char *field : {"io", "why", "pages", "registered"}) CHECK(all["path"].contains(field));
  uint64_t answered = 0;
  for (const json &tier : all["tiers"]) {
    for (const char *field :
         {"name", "budget_bytes", "peak_bytes", "hits", "misses", "bytes_in", "bytes_out"})
      CHECK(tier.contains(field));
    const auto budget = tier["budget_bytes"].get<uint64_t>();
    if (budget > 0) CHECK(tier["peak_bytes"].get<uint64_t>() <= budget);
    if (tier["name"] == "device:0")
      answered = tier["hits"].get<uint64_t>() + tier["misses"].get<uint64_t>();
  }
  CHECK(answered == tokens * layers * top_k);
  REQUIRE(all["baselines"].size() == 3);
  for (const json &one : all["baselines"]) {
    CHECK(one["output_digest"] == all["output_digest"]);
    CHECK(one["tokens_per_s"].get<double>() > 0);
    CHECK(one.contains("limit_bytes"));
    CHECK(one.contains("limit_enforced_by"));
  }
}

TEST_CASE("one output whatever the tiers, the pump, the lookahead and the policy") {
  const scratch::folder folder;
  const std::string path = make_model(folder);
  const json first = command_json(decode(path, "--no-baselines"), 0);
  REQUIRE(first.contains("output_digest"));
  for (const char *way :
       {"--pump caller", "--lookahead 0", "--lookahead 2", "--lookahead 8 --forecast-right 0",
        "--pump caller --lookahead 0", "--device-budget 0", "--host-budget 0 --device-budget 60%",
        "--device-budget 100% --host-budget 100%", "--policy lru", "--policy lfu",
        "--device-budget 4m --host-budget 2m"}) {
    const json one = command_json(decode(path, std::string("--no-baselines ") + way), 0);
    INFO(way);
    CHECK(one.value("output_digest", "none") == first["output_digest"]);
  }
}

TEST_CASE("what fits is loaded before the first token, and counted apart") {
  const scratch::folder folder;
  const std::string path = make_model(folder);
  const json all =
      command_json(decode(path, "--no-baselines --device-budget 0 --host-budget 120%"), 0);
  INFO(all.dump(1));
  CHECK(all["loaded_first"]["bytes"].get<uint64_t>() ==
        experts * uint64_t{2 * 3} * 256 * 192 / 32 * (34 + 18));
  CHECK(all["read_bytes"] == 0);
  for (const json &tier : all["tiers"]) {
    if (tier["name"] == "host:0") CHECK(tier["misses"] == 0);
  }
  const json half = command_json(decode(path, "--no-baselines"), 0);
  CHECK(half["loaded_first"]["bytes"] == 0);
  CHECK(half["read_bytes"].get<uint64_t>() > 0);
}

TEST_CASE("cubby demo is another name of it") {
  const scratch::folder folder;
  const std::string path = make_model(folder), words = path + " --tokens 12 --no-baselines";
  CHECK(command_json("demo --model " + words, 0)["output_digest"] ==
        command_json("bench decode --model " + words, 0)["output_digest"]);
  const auto none = command("demo --model " + folder.path("none.gguf"));
  CHECK(none.exit_status != 0);
  CHECK(none.text.find("cubby demo: ") != std::string::npos);
}

TEST_CASE("another model or other routes give another output") {
  const scratch::folder folder;
  const std::string path = make_model(folder);
  const json first = command_json(decode(path, "--no-baselines"), 0);
  REQUIRE(first.contains("output_digest"));
  CHECK(command_json(decode(path, "--no-baselines --seed 2"), 0)["output_digest"] !=
        first["output_digest"]);
  make_model(folder, "--mixed-quant --seed 2");
  CHECK(command_json(decode(path, "--no-baselines"), 0)["output_digest"] != first["output_digest"]);
}

TEST_CASE("a flipped byte of a sealed model ends it with a refusal, not with other output") {
  const scratch::folder folder;
  const std::string path = make_model(folder);
  REQUIRE(command("seal " + path).exit_status == 0);
  CHECK(command_json(decode(path, "--no-baselines"), 0)["unverified_bytes"] == 0);
  const auto before = std::filesystem::last_write_time(path);
  {
    // Somewhere in the middle of the file there is nothing but experts; flip a stretch wide enough
    // to touch many of them, so that the routes are sure to meet one.
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const auto middle = static_cast<std::streamoff>(std::filesystem::file_size(path) / 2);
    for (std::streamoff at = middle; at < middle + 400'000; at += 1000) {
      file.seekg(at);
      const int byte = file.get();
      file.seekp(at);
      file.put(static_cast<char>(byte ^ 1));
    }
    REQUIRE(file.good());
  }
  std::filesystem::last_write_time(path, before);
  const auto found = command(decode(path, "--no-baselines"));
  INFO(found.text);
  CHECK(found.exit_status == 1);
  CHECK(found.text.find("are not those that were sealed") != std::string::npos);
}

TEST_CASE("what cannot be run is a usage error that says why") {
  const scratch::folder folder;
  const std::string path = make_model(folder);
  const struct {
    const char *arguments, *named;
  } wrong[] = {{"--device-budget 0 --host-budget 0", "less than one page"},
               {"--device-budget 1 --host-budget 1", "--device-budget 1 and --host-budget 1"},
               {"--device-budget x", "budget"},
               {"--host-budget -5%", "budget"},
               {"--policy none-such", "none-such"},
               {"--pump other", "--pump"},
               {"--device gpu", "cuda:0"},
               {"--device cuda:x", "cuda:0"},
               {"--device cuda:", "cuda:0"},
               {"--lookahead 9", "--lookahead"},
               {"--lookahead 2 --device cuda:0", "--lookahead 1"},
               {"--forecast-right 80", "--lookahead 2"},
               {"--lookahead 2 --forecast-right 101", "--forecast-right"},
               {"--rounds 3", "--device cuda:0"},
               {"--check-tokens 2", "--check-tokens is for a run on a GPU"},
               {"--tokens 0", "--tokens"}};
  for (const auto &one : wrong) {
    const auto found = command("bench decode --model " + path + " --no-baselines " + one.arguments);
    INFO(one.arguments << " said: " << found.text);
    CHECK(found.exit_status == 2);
    CHECK(found.text.find(one.named) != std::string::npos);
  }
  const auto none = command("bench decode --model " + folder.path("none.gguf"));
  INFO(none.text);
  CHECK(none.exit_status != 0);
  CHECK(none.text.find("none.gguf") != std::string::npos);
  const auto other =
      command("bench decode --model " + folder.write("x.gguf", "not a model at all"));
  CHECK(other.exit_status != 0);
}

TEST_CASE("a budget below one token's working set is warned of with the number") {
  const scratch::folder folder;
  const auto found =
      command(decode(make_model(folder), "--no-baselines --device-budget 0 --host-budget 512k"));
  INFO(found.text);
  CHECK(found.exit_status == 0);
  CHECK(found.text.find("working set") != std::string::npos);
  // Two layers of two q8_0 experts and two of two q4_0 ones.
  const uint64_t least = 2 * 2 * 3 * 256 * 192 / 32 * (34 + 18);
  const size_t at = found.text.find("experts, ");
  REQUIRE(at != std::string::npos);
  CHECK(std::stoull(found.text.substr(at + 9)) >= least);
}

TEST_CASE("a policy that was replaced is reported") {
  const scratch::folder folder;
  const std::string path = make_model(folder);
  for (const char *fault : {"silent", "outside"}) {
    setenv("CUBBY_BAD_POLICY", fault, 1);
    const json all = command_json(
        decode(path, std::string("--no-baselines --policy ") + CUBBY_BAD_POLICY_LIBRARY), 0);
    unsetenv("CUBBY_BAD_POLICY");
    INFO(all.dump(1));
    CHECK(all["warnings"].dump().find("broke the rules") != std::string::npos);
    CHECK(all["output_digest"] == command_json(decode(path, "--no-baselines"), 0)["output_digest"]);
  }
}

TEST_CASE("what it records is what it used") {
  const scratch::folder folder;
  const std::string model = make_model(folder), trace = folder.path("demo.cubbytrace");
  const json ran = command_json(decode(model, "--no-baselines --record " + trace), 0);
  CHECK(ran["recorded"]["visits"] == ran["visits"]);
  CHECK(ran["recorded"]["lost"] == ran["visits_dropped"]);
  const json all = command_json("replay --simulate --policy lru --trace " + trace, 0);
  if (ran["visits_dropped"] == 0) CHECK(all["accesses"] == tokens * layers * top_k);
  CHECK(all["kind"] == "experts");
  CHECK(command(decode(model, "--no-baselines --record " + folder.path("no/such/place")))
            .exit_status != 0);
}

TEST_CASE("without a driver a device is refused before a model is made, with what to do") {
  const scratch::folder folder;
  setenv("XDG_CACHE_HOME", folder.path("cache").c_str(), 1);
  const auto found = command("bench decode --device cuda:63 --tokens 1");
  unsetenv("XDG_CACHE_HOME");
  INFO(found.text);
  CHECK(found.exit_status == 1);
  CHECK(found.text.find("--device cuda:63: ") != std::string::npos);
  const bool driver = found.text.find("there is no device 63") != std::string::npos;
  if (driver) return;  // of a machine that has one
  CHECK(found.text.find("CUDA driver") != std::string::npos);
  CHECK_FALSE(std::filesystem::exists(folder.path("cache")));
}

}  // namespace bench_decode_test
