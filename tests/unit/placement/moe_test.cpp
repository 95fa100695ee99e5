// The library's own policy for experts.
#include <cmath>
#include <cstring>
#include <functional>
#include <string>

#include "base/prng.hpp"
#include "placement/moe/kernel.hpp"
#include "unit/placement/small_house.hpp"

namespace {

using cubby::base::prng;
using namespace cubby::placement;
using small_house::house;
using floats = std::vector<float>;

constexpr uint32_t width = 64, rows = 13;

/// Everything one step of learning reads and writes.
struct material {
  floats on = floats(width), exists = floats(width, 1), was_on = floats(width);
  floats averages = floats(width * 4), logarithms = floats(width * 4), value = floats(width);
  floats tables = floats(width * rows * 2), rates = floats(rows), error = floats(width);
  floats weights = {-0.6F, 0.3F, 0.3F, 0.1F, 0.3F, 0.2F}, squares = floats(6), key = floats(width);

  void step(const moe::kernel &by, uint64_t seed) {
    prng random(seed);
    for (float &one : on) one = random.chance(1, 8) ? 1.0F : 0.0F;
    for (float &one : rates) one = 0.008F + 0.04F * static_cast<float>(random.unit());
    std::vector<const float *> read;
    std::vector<float *> trained;
    for (uint32_t r = 0; r < rows; ++r) {
      read.push_back(tables.data() + random.below(rows * 2) * width);
      trained.push_back(tables.data() + random.below(rows * 2) * width);
    }
    by.learn({width, 0.8F, true, on.data(), exists.data(), was_on.data(), averages.data(),
              logarithms.data(), value.data(), read.data(), rows, trained.data(), rates.data(),
              rows, weights.data(), squares.data(), error.data()});
    const float *values = value.data();
    by.rank({width, &values, 1, 3.0F, key.data()});
  }
};

bool same(const floats &a, const floats &b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

small_house::shape model_of(uint32_t layers, uint32_t experts, uint32_t k, uint32_t capacity) {
  small_house::shape shape;
  shape.kind = CUBBY_POLICY_BANK_EXPERTS;
  shape.rows = layers;
  shape.columns = experts;
  shape.routed = k;
  shape.capacity = capacity;
  return shape;
}

using chooser = std::function<std::vector<cubby_object>(uint32_t token, uint32_t layer)>;

double hit_percent(const char *name, const small_house::shape &shape, uint32_t tokens,
                   const chooser &choose) {
  house h(name, shape);
  uint64_t hits = 0, uses = 0;
  for (uint32_t token = 0; token < tokens; ++token) {
    for (uint32_t layer = 0; layer < shape.rows; ++layer) {
      const auto used = choose(token, layer);
      hits += h.visit(layer, used);
      uses += used.size();
    }
  }
  return 100 * static_cast<double>(hits) / static_cast<double>(uses);
}

}  // namespace

TEST_CASE("Vector code and its scalar twin give the same bits", "[placement][moe]") {
  material fast, plain;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    fast.step(moe::best_kernel(), seed);
    plain.step(moe::scalar_kernel(), seed);
    INFO("step " << seed);
    REQUIRE(same(fast.value, plain.value));
    REQUIRE(same(fast.key, plain.key));
    REQUIRE(same(fast.tables, plain.tables));
    REQUIRE(same(fast.weights, plain.weights));
    REQUIRE(same(fast.averages, plain.averages));
  }
  for (const float one : fast.value) CHECK((one > 0 && one < 1));
  floats bias(width);
  CHECK(moe::best_kernel().largest(fast.key.data(), bias.data(), width) ==
        moe::scalar_kernel().largest(fast.key.data(), bias.data(), width));
}

TEST_CASE("Keys are -ln V within single precision", "[placement][moe]") {
  floats value(8), key(8);
  prng random(3);
  for (int round = 0; round < 1000; ++round) {
    for (float &one : value) one = static_cast<float>(random.unit());
    const float *values = value.data();
    moe::best_kernel().rank({8, &values, 1, 0, key.data()});
    for (size_t i = 0; i < 8; ++i)
      CHECK(key[i] == Approx(-std::log(value[i] + 1e-7F)).margin(2e-5));
  }
}

TEST_CASE("moe learns who follows whom", "[placement][moe]") {
  // Eight topics that follow one another, mostly; each layer has two experts for each.
  prng random(5);
  std::vector<uint32_t> topics = {0};
  while (topics.size() < 4000) {
    const bool jumps = random.chance(1, 10);
    topics.push_back(jumps ? static_cast<uint32_t>(random.below(8)) : (topics.back() + 3) % 8);
  }
  const chooser choose = [&](uint32_t token, uint32_t layer) {
    const cubby_object base = layer * 16 + topics[token] * 2;
    return std::vector<cubby_object>{base, base + 1};
  };
  const auto shape = model_of(8, 16, 2, 64);
  const double moe = hit_percent("moe", shape, 4000, choose);
  CHECK(moe > hit_percent("lru", shape, 4000, choose) + 5);
  CHECK(moe > hit_percent("lfu", shape, 4000, choose) + 5);
}

TEST_CASE("moe is not led below LRU", "[placement][moe]") {
  const auto shape = model_of(6, 32, 2, 6 * 2 * 6);
  // Phases in which recency is everything, after phases that teach the opposite.
  const auto fooling = [](uint64_t seed) -> chooser {
    return [seed](uint32_t token, uint32_t layer) {
      const uint32_t phase = token / 40;
      prng random(seed * 1000003 + uint64_t{phase} * 64 + layer);
      const auto first = static_cast<cubby_object>(random.below(31));
      prng turn(seed + uint64_t{token} * 131 + layer);
      const auto offset = static_cast<cubby_object>(turn.below(5));
      const cubby_object base = layer * 32;
      return std::vector<cubby_object>{base + (first + offset) % 32,
                                       base + (first + offset + 1) % 32};
    };
  };
  for (uint64_t seed = 1; seed <= 6; ++seed) {
    INFO("seed " << seed);
    const double moe = hit_percent("moe", shape, 3000, fooling(seed));
    const double lru = hit_percent("lru", shape, 3000, fooling(seed));
    CHECK(moe >= lru - 0.2);
  }
}

TEST_CASE("moe says when one token alone does not fit", "[placement][moe]") {
  house small("moe", model_of(8, 32, 4, 20)), large("moe", model_of(8, 32, 4, 40));
  const std::string warning = small.stats().warning;
  CHECK(warning.find("20 experts") != std::string::npos);
  CHECK(warning.find("32") != std::string::npos);
  CHECK(std::string(large.stats().warning).empty());
}

TEST_CASE("moe's state stays below 64 MiB for the largest models", "[placement][moe]") {
  CHECK(house("moe", model_of(58, 256, 8, 1000)).stats().state_bytes < uint64_t{64} << 20);
  CHECK(house("moe", model_of(61, 384, 8, 1000)).stats().state_bytes < uint64_t{64} << 20);
}
