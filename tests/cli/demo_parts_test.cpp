// The pieces of the demo by themselves: products, routes.
#include <lzma.h>

#include <cmath>
#include <random>
#include <set>

#include "cli/demo/kernels.hpp"
#include "cli/demo/lookahead.hpp"
#include "cli/demo/routes.hpp"
#include "support/catch.hpp"
#include "unit/store/scratch.hpp"

namespace demo_parts_test {

using namespace cubby_cli;
using namespace cubby_cli::demo;

namespace {

int weight_at(const std::vector<std::byte> &matrix, model::weight_type type, size_t i,
              float &scale) {
  if (type == model::weight_type::q8_0) {
    model::q8_0_block block;
    std::memcpy(&block, matrix.data() + i / 32 * sizeof block, sizeof block);
    scale = model::half_to_float(block.scale);
    return block.weights[i % 32];
  }
  model::q4_0_block block;
  std::memcpy(&block, matrix.data() + i / 32 * sizeof block, sizeof block);
  scale = model::half_to_float(block.scale);
  const unsigned pair = block.pairs[i % 16];
  return static_cast<int>(i % 32 < 16 ? pair & 15 : pair >> 4) - 8;
}

std::string xz_of(const std::string &text) {
  std::string out(text.size() + 4096, '\0');
  size_t at = 0;
  REQUIRE(lzma_easy_buffer_encode(
              0, LZMA_CHECK_CRC32, nullptr, reinterpret_cast<const uint8_t *>(text.data()),
              text.size(), reinterpret_cast<uint8_t *>(out.data()), &at, out.size()) == LZMA_OK);
  out.resize(at);
  return out;
}

const std::string head =
    R"({"model":"m","moe_layers":2,"experts_per_layer":8,"top_k":2,"sequences":2})"
    "\n";
const std::string lines =
    R"({"sequence":0,"prefill_tokens":0,"routed_experts":[[[1,2],[3,4]],[[5,6],[7,0]]]})"
    "\n"
    R"({"sequence":1,"prefill_tokens":0,"routed_experts":[[[0,1],[2,3]]]})"
    "\n";

/// What was forecast, in order.
struct forecast_source final : expert_source {
  struct one {
    uint32_t layer;
    std::vector<uint16_t> experts;
    bool certain;
  };
  std::vector<one> seen;
  bool begin(uint32_t, const uint16_t *, uint32_t) override { return true; }
  int next(const void *[3]) override { return -1; }
  void end() override {}
  void forecast(uint32_t layer, const uint16_t *experts, uint32_t count, bool certain) override {
    seen.push_back({layer, {experts, experts + count}, certain});
  }
};

}  // namespace

TEST_CASE("each layer is predicted once, and asked for as its router has chosen one layer ahead") {
  const auto made = make_routes(6, 32, 4, 3, 1);
  for (const uint32_t layers : {0u, 1u, 2u, 3u, 8u}) {
    forecast_source source;
    lookahead ahead(made, 32, {layers, 100, 1});
    std::vector<uint32_t> certain(6), predicted(6);
    for (uint32_t layer = 0; layer < 6; ++layer) {
      source.seen.clear();
      ahead.ask(source, 2, layer);
      for (const auto &one : source.seen) {
        CHECK(std::equal(one.experts.begin(), one.experts.end(), made.at(2, one.layer)));
        CHECK(one.certain == (one.layer == layer + 1));
        CHECK(one.layer <= layer + layers);
        ++(one.certain ? certain : predicted)[one.layer];
      }
    }
    for (uint32_t layer = 0; layer < 6; ++layer) {
      CHECK(certain[layer] == (layers > 0 && layer > 0 ? 1 : 0));
      CHECK(predicted[layer] == (layers > 1 && layer > 1 ? 1 : 0));
    }
  }
}

TEST_CASE("so many of the experts that are predicted are right, and no other by chance") {
  const auto made = make_routes(12, 32, 4, 200, 1);
  for (const uint32_t right_percent : {0u, 70u, 100u}) {
    forecast_source source;
    lookahead ahead(made, 32, {2, right_percent, 1});
    uint32_t named = 0, right = 0;
    for (uint32_t token = 0; token < 200; ++token) {
      for (uint32_t layer = 0; layer < 12; ++layer) {
        source.seen.clear();
        ahead.ask(source, token, layer);
        for (const auto &one : source.seen) {
          if (one.certain) continue;
          const uint16_t *const routed = made.at(token, one.layer);
          for (const uint16_t expert : one.experts) {
            CHECK(expert < 32);
            ++named;
            if (std::find(routed, routed + 4, expert) != routed + 4) ++right;
          }
        }
      }
    }
    const double share = 100.0 * right / named;
    CHECK(share == Approx(right_percent).margin(right_percent == 70 ? 2 : 0));
  }
  // All experts of a layer are named: none of them is wrong.
  const auto few = make_routes(3, 4, 4, 1, 1);
  forecast_source source;
  lookahead all(few, 4, {2, 0, 1});
  all.ask(source, 0, 0);
  REQUIRE(source.seen.size() == 2);
  CHECK(std::equal(few.at(0, 2), few.at(0, 2) + 4, source.seen[1].experts.begin()));
}

TEST_CASE("products of blocks agree with plain double arithmetic, from any address") {
  const auto type = GENERATE(model::weight_type::q8_0, model::weight_type::q4_0);
  const uint32_t columns = GENERATE(32u, 96u, 1024u);
  const bool extreme = GENERATE(false, true);  // every integer as large as it can be
  constexpr uint32_t rows = 5;
  std::mt19937 random(columns);
  const uint64_t bytes = model::bytes_of(type, uint64_t{rows} * columns);
  const uint64_t block = model::bytes_of(type, 32);
  std::vector<std::byte> matrix(bytes);
  for (uint64_t i = 0; i < bytes; i++) {
    const bool lowest = type == model::weight_type::q8_0;
    matrix[i] = static_cast<std::byte>(extreme ? (lowest ? 0x80 : 0x00) : random() & 255);
  }
  for (uint64_t i = 0; i < bytes; i += block) {
    const uint16_t half = model::float_to_half(0.001f * static_cast<float>(1 + random() % 100));
    std::memcpy(matrix.data() + i, &half, sizeof half);
  }
  std::vector<float> vector(columns);
  for (float &one : vector)
    one = extreme ? -3.0f : static_cast<float>(random() % 2001) / 1000.0f - 1.0f;
  quantised small;
  quantise(vector.data(), columns, small);
  for (uint32_t i = 0; i < columns; i++)  // half a step of the block's scale, and rounding
    CHECK(std::fabs(small.scales[i / 32] * static_cast<float>(small.values[i]) - vector[i]) <=
          small.scales[i / 32] * 0.5001f);

  std::vector<double> expected(rows), magnitude(rows);
  for (uint32_t i = 0; i < rows * columns; i++) {
    float scale = 0;
    const double weight = weight_at(matrix, type, i, scale);
    const uint32_t c = i % columns;
    const double product = weight * static_cast<double>(scale) * small.values[c] *
                           static_cast<double>(small.scales[c / 32]);
    expected[i / columns] += product;
    magnitude[i / columns] += std::fabs(product);
  }
  for (const size_t skew : {0u, 1u, 7u}) {
    std::vector<std::byte> moved(bytes + skew);
    std::memcpy(moved.data() + skew, matrix.data(), bytes);
    std::vector<float> fast(rows), plain(rows);
    multiply(type, moved.data() + skew, rows, columns, small, fast.data());
    multiply_portable(type, moved.data() + skew, rows, columns, small, plain.data());
    for (uint32_t r = 0; r < rows; r++) {
      const double allowed = magnitude[r] * 2e-6 + 1e-9;
      CHECK(std::fabs(static_cast<double>(fast[r]) - expected[r]) <= allowed);
      CHECK(std::fabs(static_cast<double>(plain[r]) - expected[r]) <= allowed);
    }
  }
}

TEST_CASE("a vector of zeroes is quantised to zeroes") {
  const std::vector<float> zeroes(64);
  quantised small;
  quantise(zeroes.data(), 64, small);
  for (const int8_t one : small.values) CHECK(one == 0);
  for (const float one : small.scales) CHECK(one == 0.0f);
}

TEST_CASE("routes are read plain and packed, in order, up to as many tokens as wanted") {
  const scratch::folder folder;
  const bool packed = GENERATE(false, true);
  const std::string path = packed ? folder.write("r.jsonl.xz", xz_of(head + lines))
                                  : folder.write("r.jsonl", head + lines);
  const auto all = read_routes(path, 2, 8, 2, 100);
  REQUIRE(all);
  CHECK(all->tokens == 3);
  CHECK(all->experts == std::vector<uint16_t>{1, 2, 3, 4, 5, 6, 7, 0, 0, 1, 2, 3});
  const auto some = read_routes(path, 2, 8, 2, 2);
  REQUIRE(some);
  CHECK(some->tokens == 2);
}

TEST_CASE("routes of another geometry are a usage error that names both") {
  const scratch::folder folder;
  const std::string path = folder.write("r.jsonl", head + lines);
  for (const auto &[layers, experts, top_k] :
       {std::tuple{3u, 8u, 2u}, std::tuple{2u, 7u, 2u}, std::tuple{2u, 8u, 3u}}) {
    const auto found = read_routes(path, layers, experts, top_k, 10);
    REQUIRE(!found);
    CHECK(found.failure().exit_status == 2);
    CHECK(found.failure().text.find(path) != std::string::npos);
  }
}

TEST_CASE("a trace of KV blocks is refused as routes, in words of our own") {
  const scratch::folder folder;
  const auto found =
      read_routes(folder.write("kv.jsonl", "{\"timestamp\":0,\"hash_ids\":[1,2]}\n"), 2, 8, 2, 10);
  REQUIRE(!found);
  CHECK(found.failure().exit_status == exit_usage);
  CHECK(found.failure().text.find("is no file of routes") != std::string::npos);
  CHECK(found.failure().text.find("json.exception") == std::string::npos);
}

TEST_CASE("damaged routes are an error, never a crash") {
  const scratch::folder folder;
  const std::string packed = xz_of(head + lines);
  const std::string wrong[] = {
      "",
      "\n",
      "[]",
      "{}\n",
      "17\n",
      head,
      head + "{",
      head + R"({"routed_experts":7})"
             "\n",
      head + R"({"routed_experts":[[7,7],[7,7]]})"
             "\n",
      head + R"({"routed_experts":[[["a","b"],[1,2]]]})"
             "\n",
      head + R"({"routed_experts":[[[1,2.5],[1,null]]]})"
             "\n",
      head + R"({"routed_experts":[[[1,2],[1,8]]]})"
             "\n",
      R"({"moe_layers":"2","experts_per_layer":8,"top_k":2})"
      "\n" +
          lines,
  };
  for (const std::string &text : wrong) {
    INFO(text);
    CHECK(!read_routes(folder.write("w.jsonl", text), 2, 8, 2, 10));
  }
  for (const size_t prefix_bytes : {size_t{0}, size_t{5}, packed.size() / 2})
    CHECK(!read_routes(folder.write("w.jsonl.xz", packed.substr(0, prefix_bytes)), 2, 8, 2, 10));
  CHECK(!read_routes(folder.path("none.jsonl"), 2, 8, 2, 10));
}

TEST_CASE("made routes follow their seed, name each expert once, and have neighbours in common") {
  constexpr uint32_t layers = 6, experts = 32, top_k = 4, tokens = 400;
  const routes made = make_routes(layers, experts, top_k, tokens, 3);
  CHECK(made.experts == make_routes(layers, experts, top_k, tokens, 3).experts);
  CHECK(made.experts != make_routes(layers, experts, top_k, tokens, 4).experts);
  uint32_t near = 0, far = 0;
  for (uint32_t token = 0; token < tokens; token++)
    for (uint32_t layer = 0; layer < layers; layer++) {
      const std::set<uint16_t> here(made.at(token, layer), made.at(token, layer) + top_k);
      REQUIRE(here.size() == top_k);
      REQUIRE(*here.rbegin() < experts);
      for (uint32_t k = 0; k < top_k && token >= 40; k++) {
        near += here.contains(made.at(token - 1, layer)[k]) ? 1u : 0u;
        far += here.contains(made.at(token - 40, layer)[k]) ? 1u : 0u;
      }
    }
  // Real decoding: 46 % of the experts in common with the token before, 35 % some 30 apart.
  const double all = (tokens - 40) * layers * top_k;
  CHECK(near / all > 0.35);
  CHECK(near / all < 0.65);
  CHECK(near > far);
}

}  // namespace demo_parts_test
