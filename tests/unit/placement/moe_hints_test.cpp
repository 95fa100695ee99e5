// What `moe` makes of costs, forecasts and prompts, and of traces made to fool it.
#include <functional>
#include <string>

#include "base/prng.hpp"
#include "support/policy_fixture.hpp"

namespace moe_hints_test {

namespace {

using cubby::base::prng;
using policy_fixture::fixture;

using chooser = std::function<std::vector<cubby_object>(uint32_t token, uint32_t layer)>;

constexpr uint32_t layers = 6, experts = 32, chosen = 2;

policy_fixture::shape model_of(uint32_t capacity) {
  return policy_fixture::model_of(layers, experts, chosen, capacity);
}

std::vector<cubby_object> pair_of(uint32_t layer, uint64_t a, uint64_t b) {
  a %= experts;
  b %= experts;
  if (a == b) b = (b + 1) % experts;
  return {static_cast<cubby_object>(layer * experts + a),
          static_cast<cubby_object>(layer * experts + b)};
}

/// The same draw whenever it is asked for.
uint64_t draw(uint64_t seed, uint64_t a, uint64_t b, uint64_t below) {
  prng random(seed * 0x9E3779B97F4A7C15U + a * 1000003 + b);
  random.below(2);
  return random.below(below);
}

double hits(const char *name, const policy_fixture::shape &shape, uint32_t tokens,
            const chooser &choose, const chooser &forecast_of = {}) {
  fixture h(name, shape);
  uint64_t found = 0;
  for (uint32_t token = 0; token < tokens; ++token) {
    for (uint32_t ahead = 1; forecast_of && ahead <= 3; ++ahead) {
      std::vector<cubby_object> all;
      for (uint32_t layer = 0; layer < layers; ++layer)
        for (const cubby_object object : forecast_of(token + ahead - 1, layer))
          all.push_back(object);
      h.foresee(ahead, all);
    }
    for (uint32_t layer = 0; layer < layers; ++layer) found += h.visit(layer, choose(token, layer));
  }
  return 100 * static_cast<double>(found) / (static_cast<double>(tokens) * layers * chosen);
}

struct trick {
  const char *name;
  chooser choose;
};

std::vector<trick> tricks(uint64_t seed) {
  return {
      {"random",
       [=](uint32_t t, uint32_t l) {
         return pair_of(l, draw(seed, t, l * 2, experts), draw(seed, t, l * 2 + 1, experts));
       }},
      {"cyclic scan", [](uint32_t t, uint32_t l) { return pair_of(l, 2 * t, 2 * t + 1); }},
      {"short cyclic scan",
       [](uint32_t t, uint32_t l) { return pair_of(l, 2 * t % 10, (2 * t + 1) % 10); }},
      {"who follows whom flips",
       [=](uint32_t t, uint32_t l) {
         const uint64_t step = t / 60 % 2 == 0 ? 3 : 29;
         return pair_of(l, (t % 16) * step + l, (t % 16) * step + l + 7);
       }},
      {"what the layer below chose never comes",
       [=](uint32_t t, uint32_t l) {
         const uint64_t base = draw(seed, t / 40, 0, experts);
         return pair_of(l, base + (l % 2 == 0 ? t % 3 : 9 + t % 3),
                        base + 16 + draw(seed, t, l, 3));
       }},
      {"frequent ones go out of fashion",
       [=](uint32_t t, uint32_t l) {
         const uint64_t phase = t / 50;
         return pair_of(l, phase * 5 + draw(seed, t, l, 4), phase * 5 + draw(seed, t, l + 64, 4));
       }},
      {"recency alone counts",
       [=](uint32_t t, uint32_t l) {
         const uint64_t walk = t / 4;
         return pair_of(l, walk + draw(seed, t, l, 5), walk + draw(seed, t, l + 64, 5));
       }},
      {"just too long a cycle, then random, by turns",
       [=](uint32_t t, uint32_t l) {
         // 18 experts a layer come round: LRU of 96 places for 6 layers holds 16.
         if (t / 250 % 2 == 0) return pair_of(l, 2 * t % 18, (2 * t + 1) % 18);
         return pair_of(l, draw(seed, t, l * 2, experts), draw(seed, t, l * 2 + 1, experts));
       }},
      {"a lesson, then its reverse for as long",
       [=](uint32_t t, uint32_t l) {
         // Who comes after one is taught for 1,500 tokens; from there on exactly those never do.
         const uint64_t topic = draw(seed, t / 3, 0, 8), next = (topic + 3) % 8;
         if (t < 1500) return pair_of(l, (t % 3 < 2 ? topic : next) * 4, topic * 4 + 1);
         return pair_of(l, (t % 3 < 2 ? topic : (topic + 5) % 8) * 4 + 2, next * 4 + 3);
       }},
      {"popular ones are taught, then the others alone are used",
       [=](uint32_t t, uint32_t l) {
         const uint64_t base = t / 700 % 2 == 0 ? 0 : 16;
         return pair_of(l, base + draw(seed, t / 2, l, 6), base + 6 + draw(seed, t / 2, l + 64, 9));
       }},
      {"bursts of sequences of one token",
       [=](uint32_t t, uint32_t l) {
         // Forty tokens of one subject, then forty each of a subject of its own.
         const uint64_t subject = t / 40 % 2 == 0 ? t / 40 : 100000 + t;
         return pair_of(l, draw(seed, subject, l, experts) + t % 2,
                        draw(seed, subject, l + 64, experts) + t % 3);
       }},
  };
}

}  // namespace

TEST_CASE("No trace that is made to fool it takes moe below LRU", "[placement][moe]") {
  for (const uint32_t capacity : {15u, 30u, 36u, 48u, 96u, 120u}) {
    for (uint64_t seed = 1; seed <= 2; ++seed) {
      for (const trick &one : tricks(seed)) {
        const double moe = hits("moe", model_of(capacity), 3000, one.choose);
        const double lru = hits("lru", model_of(capacity), 3000, one.choose);
        INFO(one.name << ", room for " << capacity << ", seed " << seed << ": LRU " << lru
                      << ", moe " << moe);
        CHECK(moe >= lru - 0.2);
      }
    }
  }
}

TEST_CASE("Right forecasts help, random and wrong ones do no harm", "[placement][moe]") {
  // Twelve experts of each layer for a while, and nothing else that could be learned.
  const chooser choose = [](uint32_t t, uint32_t l) {
    const uint64_t base = draw(9, t / 100, l, experts);
    return pair_of(l, base + draw(3, t, l * 2, 12), base + draw(3, t, l * 2 + 1, 12));
  };
  const chooser random = [](uint32_t t, uint32_t l) {
    return pair_of(l, draw(5, t, l * 2, experts), draw(5, t, l * 2 + 1, experts));
  };
  const chooser wrong = [&](uint32_t t, uint32_t l) {
    const auto right = choose(t, l);
    return pair_of(l, right[0] % experts + 17, right[1] % experts + 17);
  };
  const auto shape = model_of(48);
  const double without = hits("moe", shape, 2000, choose), lru = hits("lru", shape, 2000, choose);
  CHECK(hits("moe", shape, 2000, choose, choose) > without + 3);
  CHECK(hits("moe", shape, 2000, choose, random) > without - 1);
  CHECK(hits("moe", shape, 2000, choose, random) >= lru - 0.2);
  CHECK(hits("moe", shape, 2000, choose, wrong) >= lru - 0.2);
}

TEST_CASE("Forecasts that are too far or past are not taken", "[placement][moe]") {
  fixture h("moe", model_of(48));
  h.visit(0, {0, 1});
  const cubby_object first = 3, second = experts + 3;
  cubby_policy_hint hint = {};
  hint.struct_size = sizeof hint;
  hint.kind = CUBBY_POLICY_HINT_ROUTE;
  hint.objects = &first;
  hint.object_count = 1;
  CHECK(h.ops().hint(h.policy(), &hint) == 0);  // this token has run the layer already
  hint.ahead = 100;
  CHECK(h.ops().hint(h.policy(), &hint) == 0);
  hint.ahead = 1;
  CHECK(h.ops().hint(h.policy(), &hint) == 1);
  hint.ahead = 0;
  hint.objects = &second;  // it has not run this one yet
  CHECK(h.ops().hint(h.policy(), &hint) == 1);
  hint.kind = CUBBY_POLICY_HINT_CLOSED;
  CHECK(h.ops().hint(h.policy(), &hint) == 0);
}

TEST_CASE("Where copies are near and far, moe ranks by the time saved for a byte",
          "[placement][moe]") {
  // Two models of the same kind take turns; the second is ten times as far away.
  const auto waited = [](uint64_t near_ns, uint64_t far_ns, uint64_t far_bytes, uint64_t near_real,
                         uint64_t far_real) {
    const auto bank = [](cubby_object first, uint64_t bytes, uint64_t ns) {
      return policy_fixture::bank_of(CUBBY_POLICY_BANK_EXPERTS, first, layers, experts, bytes, ns);
    };
    policy_fixture::fixture h(
        "moe", {bank(0, 100, near_ns), bank(layers * experts, far_bytes, far_ns)}, 8000);
    uint64_t near_misses = 0, far_misses = 0;
    for (uint32_t token = 0; token < 3000; ++token) {
      for (uint32_t model = 0; model < 2; ++model) {
        for (uint32_t layer = 0; layer < layers; ++layer) {
          const cubby_object base = (model * layers + layer) * experts;
          const auto a = static_cast<cubby_object>(
              draw(token, model, layer * 2, 1 + draw(token, model, 99 + layer, 16)));
          const auto b =
              static_cast<cubby_object>((a + 1 + draw(token, model, layer, 8)) % experts);
          for (const cubby_object object : {base + a, base + b})
            if (!h.resident(object)) ++(model == 0 ? near_misses : far_misses);
          h.visit(model, layer, {base + a, base + b});
        }
      }
    }
    return static_cast<double>(near_misses * near_real + far_misses * far_real);
  };
  CHECK(waited(10'000, 100'000, 100, 10'000, 100'000) < 0.9 * waited(0, 0, 100, 10'000, 100'000));
  // As far and ten times as large: a byte of it saves a tenth.
  CHECK(waited(10'000, 10'000, 1000, 10'000, 10'000) < waited(0, 0, 1000, 10'000, 10'000));
}

TEST_CASE("Prompts are visits: what they used is learned", "[placement][moe]") {
  // Which pair is in favour is known from the prompt alone.
  const auto choose = [](uint32_t token, uint32_t layer) {
    const bool usual = draw(2, token, layer, 4) != 0;
    return pair_of(layer, usual ? 4 : draw(3, token, layer, experts), usual ? 5 : 11 + layer);
  };
  const auto run = [&](uint32_t prompt_tokens, uint32_t prefill) {
    fixture h("moe", model_of(12));
    for (uint32_t token = 0; token < prompt_tokens; ++token) {
      for (uint32_t layer = 0; layer < layers; ++layer) {
        const auto used = choose(1000 + token, layer);
        const cubby_policy_route route = {0, chosen, used.data()};
        cubby_policy_visit one = {};
        one.struct_size = sizeof one;
        one.row = layer;
        one.used = used.data();
        one.used_count = chosen;
        one.routes = &route;
        one.route_count = 1;
        one.prefill = prefill;
        h.ops().visit(h.policy(), &one);
        for (const cubby_object object : used)
          if (h.residents.count(object) == 0) h.bring(object);
      }
    }
    for (const cubby_object object : std::set<cubby_object>(h.residents)) h.remove(object);
    uint32_t found = 0;
    for (uint32_t token = 0; token < 12; ++token)
      for (uint32_t layer = 0; layer < layers; ++layer)
        found += h.visit(layer, choose(token, layer));
    return found;
  };
  CHECK(run(300, 1) == run(300, 0));
  CHECK(run(300, 1) > run(0, 0));
}

}  // namespace moe_hints_test
