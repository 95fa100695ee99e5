// The pieces of the demo, and the demo as people run it.
#include <unistd.h>

#include <array>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "cli/demo/kernels.hpp"
#include "cli/demo/routes.hpp"
#include "cli/demo/sha256.hpp"
#include "cli/model/weights.hpp"
#include "support/catch.hpp"

using namespace cubby_cli;

namespace {

struct ran {
  std::string out;
  int status = -1;
};

ran run(const std::string &arguments) {
  const std::string command = std::string(CUBBY_COMMAND) + " " + arguments + " 2>/dev/null";
  ran result;
  FILE *pipe = popen(command.c_str(), "r");
  REQUIRE(pipe != nullptr);
  std::array<char, 4096> piece{};
  size_t got = 0;
  while ((got = fread(piece.data(), 1, piece.size(), pipe)) != 0) result.out.append(piece.data(), got);
  result.status = WEXITSTATUS(pclose(pipe));
  return result;
}

struct folder {
  std::string path = (std::filesystem::temp_directory_path() / "cubby-demo-XXXXXX").string();
  folder() { REQUIRE(mkdtemp(path.data()) != nullptr); }
  folder(const folder &) = delete;
  folder &operator=(const folder &) = delete;
  ~folder() { std::filesystem::remove_all(path); }
};

}  // namespace

TEST_CASE("SHA-256 gives the digests of the standard's examples") {
  demo::sha256 abc, empty, longer;
  abc.add("abc", 3);
  CHECK(abc.finish() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(empty.finish() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  longer.add("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq", 56);
  CHECK(longer.finish() == "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

TEST_CASE("products of quantised weights are those of a plain reference") {
  const auto type = GENERATE(model::weight_type::q8_0, model::weight_type::q4_0);
  constexpr uint32_t rows = 37, columns = 256;
  model::random_stream random(3, 1);
  const uint64_t block = model::bytes_of(type, 32);
  std::vector<unsigned char> weights(block * columns / 32 * rows);
  for (auto &byte : weights) byte = static_cast<unsigned char>(random.below(256));
  for (size_t at = 0; at < weights.size(); at += block) {
    const uint16_t scale = model::float_to_half(random.unit() * 0.02F);
    std::memcpy(&weights[at], &scale, sizeof scale);
  }
  std::vector<float> vector(columns);
  for (float &one : vector) one = random.unit() - 0.5F;
  demo::quantised input;
  demo::quantise(vector.data(), columns, input);
  std::vector<float> fast(rows), plain(rows);
  demo::multiply(type, weights.data(), rows, columns, input, fast.data());
  demo::multiply_portable(type, weights.data(), rows, columns, input, plain.data());
  for (uint32_t r = 0; r < rows; ++r) {
    double expected = 0;
    for (uint32_t c = 0; c < columns; ++c) {
      const unsigned char *at = &weights[(r * columns / 32 + c / 32) * block];
      uint16_t scale = 0;
      std::memcpy(&scale, at, sizeof scale);
      const uint32_t i = c % 32;
      const int weight = type == model::weight_type::q8_0
                             ? static_cast<int>(static_cast<int8_t>(at[2 + i]))
                             : (i < 16 ? at[2 + i] & 15 : at[2 + i - 16] >> 4) - 8;
      expected += static_cast<double>(model::half_to_float(scale)) * weight *
                  static_cast<double>(input.scales[c / 32]) * input.values[c];
    }
    CHECK(std::fabs(static_cast<double>(fast[r]) - expected) < 1e-4);
    CHECK(std::fabs(static_cast<double>(plain[r]) - expected) < 1e-4);
  }
}

TEST_CASE("routes are read from lines, and refused where they are another model's") {
  const folder here;
  const std::string path = here.path + "/routes.jsonl";
  std::ofstream(path) << R"({"model":"m","moe_layers":2,"experts_per_layer":4,"top_k":2,"sequences":1})"
                      << "\n"
                      << R"({"sequence":0,"prefill_tokens":0,"routed_experts":)"
                      << "[[[0,1],[2,3]],[[-1,-1],[0,1]],[[3,2],[1,0]]]}\n";
  const auto read = demo::read_routes(path, 2, 4, 2, 10);
  REQUIRE(read);
  CHECK(read->tokens == 2);  // the second was not recorded
  CHECK(read->at(1, 0)[0] == 3);
  CHECK(read->at(1, 1)[1] == 0);
  CHECK(demo::read_routes(path, 3, 4, 2, 10).failure().exit_status == 2);
  CHECK(demo::read_routes(path, 2, 3, 2, 10).failure().exit_status == 2);
  CHECK(demo::read_routes(path, 2, 4, 3, 10).failure().exit_status == 2);
  CHECK_FALSE(demo::read_routes(here.path + "/absent", 2, 4, 2, 10));
}

TEST_CASE("the demo gives one output whatever the tiers, the pump, the lookahead and the policy",
          "[limit]") {
  if (std::getenv("CUBBY_NO_LIMIT") != nullptr) {
    WARN("skipped: a sanitizer's memory does not fit the demo's limit");
    return;
  }
  const folder here;
  const std::string model = here.path + "/m.gguf";
  REQUIRE(run("make-model --layers 4 --experts 8 --top-k 2 --hidden 256 --ffn 192 --mixed-quant --out " +
              model).status == 0);
  std::string output;
  for (const char *way : {"--device-budget 2m --host-budget 2m", "--device-budget 0 --host-budget 2m",
                          "--device-budget 2m --host-budget 0 --lookahead 0",
                          "--device-budget 2m --host-budget 2m --pump caller --policy lru"}) {
    INFO(way);
    const ran one = run("demo --json --tokens 20 --model " + model + " " + way);
    REQUIRE(one.status == 0);
    const auto json = nlohmann::json::parse(one.out);
    CHECK(json["identical"] == true);
    CHECK(json["tokens"] == 20);
    CHECK(json["baselines"].size() == 3);
    CHECK(json["visits"].get<uint64_t>() + json["visits_dropped"].get<uint64_t>() == 80);
    for (const auto &tier : json["tiers"]) {
      CHECK(tier["peak_bytes"].get<uint64_t>() <= tier["budget_bytes"].get<uint64_t>());
    }
    if (output.empty()) output = json["output_sha256"];
    CHECK(json["output_sha256"] == output);
  }
  CHECK(run("demo --json --model " + model + " --device-budget nonsense").status == 2);
  CHECK(run("demo --json --model " + here.path + "/absent").status != 0);
}
