// The library's own policy for experts.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <functional>
#include <string>
#include <tuple>

#include "base/prng.hpp"
#include "placement/moe/index.hpp"
#include "placement/policy.hpp"
#include "support/policy_fixture.hpp"

namespace moe_test {

namespace {

using cubby::base::prng;
using namespace cubby::placement;
using policy_fixture::fixture;
using policy_fixture::model_of;
using floats = std::vector<float>;

/// Everything one step of learning reads and writes.
struct material {
  static constexpr uint32_t width = 112, experts = 101, sources = 3, table_rows = 20;
  using numbers = std::vector<int16_t>;

  floats on = floats(width), was_on = floats(width);
  floats averages = floats(width * 4), logarithms = floats(width * 4), value = floats(width);
  numbers tables = numbers(size_t{width} * table_rows * sources), said = numbers(width),
          error = numbers(width);
  floats weights = {-0.6F, 0.3F, 0.3F, 0.1F, 0.3F, 0.2F}, squares = floats(6), key = floats(width);

  void step(const moe::kernel &by, uint64_t seed) {
    prng random(seed);
    for (float &one : on) one = random.chance(1, 8) ? 1.0F : 0.0F;
    if (seed % 64 == 0)  // some rows are at the ends of their range
      for (int16_t &one : tables)
        if (random.chance(1, 50)) one = random.chance(1, 2) ? 32767 : -32768;
    std::vector<uint32_t> rows[2 * sources];
    moe::used_rows sets[2 * sources];
    for (uint32_t s = 0; s < 2 * sources; ++s) {
      for (uint64_t n = random.below(6); n > 0; --n)
        rows[s].push_back(
            static_cast<uint32_t>(random.below(table_rows) | (131 + random.below(700)) << 16));
      sets[s] = {rows[s].data(), static_cast<uint32_t>(rows[s].size())};
    }
    by.learn({width,
              experts,
              0.8F,
              true,
              on.data(),
              was_on.data(),
              averages.data(),
              logarithms.data(),
              value.data(),
              tables.data(),
              table_rows,
              sets,
              sources,
              sets + sources,
              sources,
              static_cast<uint32_t>(seed * 0x9E3779B9U),
              weights.data(),
              squares.data(),
              said.data(),
              error.data()});
    const float *values = value.data();
    by.rank({width, &values, 1, 3.0F, key.data()});
    was_on = on;
  }
};

template <class Number>
bool same(const std::vector<Number> &a, const std::vector<Number> &b) {
  return std::memcmp(a.data(), b.data(), a.size() * sizeof(Number)) == 0;
}

using chooser = std::function<std::vector<cubby_object>(uint32_t token, uint32_t layer)>;

double hit_percent(const char *name, const policy_fixture::shape &shape, uint32_t tokens,
                   const chooser &choose) {
  fixture h(name, shape);
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
  material fast, vector, plain;
  for (uint64_t seed = 0; seed < 2000; ++seed) {
    fast.step(moe::best_kernel(), seed);
    vector.step(moe::plain_kernel(), seed);
    plain.step(moe::scalar_kernel(), seed);
    INFO("step " << seed);
    REQUIRE(same(fast.value, plain.value));
    REQUIRE(same(fast.key, plain.key));
    REQUIRE(same(fast.tables, plain.tables));
    REQUIRE(same(fast.weights, plain.weights));
    REQUIRE(same(fast.averages, plain.averages));
    REQUIRE(same(fast.error, plain.error));
    REQUIRE(same(vector.value, plain.value));
    REQUIRE(same(vector.key, plain.key));
    REQUIRE(same(vector.tables, plain.tables));
    REQUIRE(same(vector.weights, plain.weights));
  }
  for (const float one : fast.value) CHECK((one > 0 && one < 1));
}

TEST_CASE("The largest key is found alike, the first of equals, among the visible",
          "[placement][moe]") {
  prng random(11);
  for (int round = 0; round < 2000; ++round) {
    floats key(48);
    std::vector<uint8_t> visible(6);
    for (float &one : key) one = static_cast<float>(random.below(20));
    for (uint8_t &one : visible) one = static_cast<uint8_t>(random.below(256) & random.below(256));
    float best = -INFINITY;
    uint32_t at = 0;
    for (uint32_t i = 0; i < 48; ++i) {
      if ((visible[i / 8] >> i % 8 & 1) == 0 || key[i] <= best) continue;
      best = key[i];
      at = i;
    }
    for (const moe::kernel *by :
         {&moe::best_kernel(), &moe::plain_kernel(), &moe::scalar_kernel()}) {
      const moe::largest_key found = by->largest(key.data(), visible.data(), 48);
      REQUIRE(found.key == best);
      if (best > -INFINITY) REQUIRE(found.at == at);
    }
  }
}

/// Two indices over the same visits, one by the scalar kernel, hold the same keys.
TEST_CASE("Decisions do not depend on the processor", "[placement][moe]") {
  for (const uint32_t experts : {24u, 64u, 136u}) {
    cubby_policy_bank bank = {};
    bank.struct_size = sizeof bank;
    bank.kind = CUBBY_POLICY_BANK_EXPERTS;
    bank.rows = 5;
    bank.columns = experts;
    bank.routed_count = 4;
    bank.object_bytes = 1;
    cubby_policy_config config = {};
    config.struct_size = sizeof config;
    config.banks = &bank;
    config.bank_count = 1;
    config.object_count = 5 * experts;
    config.budget_bytes = config.object_count / 4;
    config.slot_count = 2;
    moe::index fast(config), plain(config, moe::scalar_kernel());
    prng random(experts);
    for (uint32_t v = 0; v < 4000; ++v) {
      std::vector<cubby_object> used[2];
      cubby_policy_route routes[2];
      std::vector<cubby_object> all;
      for (uint32_t slot = 0; slot < 2; ++slot) {
        for (uint32_t k = 0; k < 4; ++k) {
          const auto object = static_cast<cubby_object>(
              v % 5 * experts +
              (k * experts + std::min(random.below(experts), random.below(12))) / 4);
          used[slot].push_back(object);
          if (std::find(all.begin(), all.end(), object) == all.end()) all.push_back(object);
        }
        routes[slot] = {slot, 4, used[slot].data()};
      }
      cubby_policy_visit visit = {};
      visit.row = v % 5;
      visit.used = all.data();
      visit.used_count = static_cast<uint32_t>(all.size());
      visit.routes = routes;
      visit.route_count = 1 + (v % 7 == 0 ? 0u : 1u);
      uint32_t a = 0, b = 0;
      REQUIRE(fast.visit(visit, a));
      REQUIRE(plain.visit(visit, b));
      REQUIRE(a == b);
      REQUIRE(std::memcmp(fast.keys(a), plain.keys(a), experts * sizeof(float)) == 0);
    }
  }
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

TEST_CASE("moe exchanges less where who leaves has to be carried down", "[placement][moe]") {
  struct count {
    uint64_t hits = 0, exchanges = 0;
  };
  const auto run = [](bool demotes) {
    policy_fixture::shape of{CUBBY_POLICY_BANK_EXPERTS, 4, 32, 4, 40};
    of.demotes = demotes;
    fixture rooms("moe", of);
    prng random(5);
    count found;
    for (uint32_t token = 0; token < 4000; ++token) {
      for (uint32_t row = 0; row < of.rows; ++row) {
        std::vector<cubby_object> used;
        while (used.size() < of.routed) {  // the low ones are used far more often
          const uint64_t column = random.below(random.below(of.columns) + 1);
          const auto object = static_cast<cubby_object>(row * of.columns + column);
          if (std::find(used.begin(), used.end(), object) == used.end()) used.push_back(object);
        }
        found.hits += rooms.visit(row, used);
      }
    }
    found.exchanges = rooms.victims.size();
    return found;
  };
  const count free = run(false), carried = run(true);
  CHECK(free.exchanges > 1000);
  CHECK(carried.exchanges < free.exchanges * 4 / 5);
  CHECK(carried.hits > free.hits * 98 / 100);
}

TEST_CASE("moe says when one token alone does not fit", "[placement][moe]") {
  fixture small("moe", model_of(8, 32, 4, 20)), large("moe", model_of(8, 32, 4, 40));
  const std::string warning = small.stats().warning;
  CHECK(warning.find("20 experts") != std::string::npos);
  CHECK(warning.find("32") != std::string::npos);
  CHECK(std::string(large.stats().warning).empty());
}

TEST_CASE("moe takes a visit of blocks for none of the experts of the bank behind them",
          "[placement][moe]") {
  cubby_policy_bank banks[2] = {};
  for (cubby_policy_bank &bank : banks) {
    bank.struct_size = sizeof bank;
    bank.rows = 1;
    bank.object_bytes = 1;
  }
  banks[0].kind = CUBBY_POLICY_BANK_KV;
  banks[0].columns = 4096;
  banks[1].kind = CUBBY_POLICY_BANK_EXPERTS;
  banks[1].columns = 8;
  banks[1].first_object = 4096;
  banks[1].routed_count = 2;
  policy_config config;
  config.object_count = 4096 + 8;
  config.budget_bytes = 64;
  config.banks = banks;
  const auto one = make_policy(*find_policy("moe"), config);
  const cubby_object experts[] = {4097, 4099}, blocks[] = {4000, 5};
  for (int i = 0; i < 100; ++i) {
    one->visit(experts, {1, 0, 0});
    one->visit(blocks, {0, 0, 0});
    one->visit(blocks, {0, 1, 0});  // there is no such row: the next bank has one of that number
    one->visit(blocks, {2, 0, 0});  // nor such a bank
  }
  for (const cubby_object object : {4096u, 4097u, 4098u}) one->inserted(object);
  one->begin_victims();
  const cubby_object first = one->next_victim();
  CHECK((first == 4096 || first == 4098));  // 4097 is the one that was used
}

TEST_CASE("moe's state stays below 64 MiB for the largest models", "[placement][moe]") {
  for (const auto &[layers, experts, k] :
       {std::tuple{94u, 128u, 8u}, {48u, 512u, 10u}, {40u, 1024u, 8u}, {2u, 70000u, 4u}})
    CHECK(fixture("moe", model_of(layers, experts, k, 1000)).stats().state_bytes < uint64_t{64}
                                                                                       << 20);
  CHECK(fixture("moe", model_of(58, 256, 8, 1000)).stats().state_bytes < uint64_t{64} << 20);
  policy_fixture::shape batch = model_of(48, 128, 8, 1000);
  batch.slots = 1024;
  fixture wide("moe", batch);
  wide.visit(0, {1, 2, 3});
  CHECK(wide.stats().state_bytes < uint64_t{64} << 20);
  CHECK(fixture("moe", model_of(61, 384, 8, 1000)).stats().state_bytes < uint64_t{64} << 20);
}

TEST_CASE("moe's state of small models is 68 bytes and 16 for each expert of a layer, an expert",
          "[placement][moe]") {
  for (const auto &[layers, experts, k] :
       {std::tuple{24u, 32u, 4u}, {26u, 64u, 6u}, {48u, 128u, 8u}}) {
    const auto state = fixture("moe", model_of(layers, experts, k, 1000)).stats().state_bytes;
    CHECK(state <= uint64_t{layers} * experts * (68 + 16 * experts));
  }
}

}  // namespace moe_test
