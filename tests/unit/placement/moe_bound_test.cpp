// `moe` against whoever wants to fool it: at no time may it have hit less often than LRU by more
// than a thousandth of all uses and a tenth of what one token uses.
#include <algorithm>
#include <vector>

#include "base/prng.hpp"
#include "support/policy_fixture.hpp"

namespace moe_bound_test {

namespace {

using cubby::base::prng;
using policy_fixture::fixture;
using policy_fixture::model_of;
using experts = std::vector<cubby_object>;

/// Both serve the same visits.
struct comparison {
  explicit comparison(const policy_fixture::shape &of)
      : shape(of), moe("moe", of), lru("lru", of) {}

  void visit(uint32_t layer, const experts &used) {
    lead += moe.visit(layer, used);
    lead -= lru.visit(layer, used);
    uses += static_cast<double>(used.size());
    highest = std::max(highest, lead);
    REQUIRE(-lead <= 1e-3 * uses + 0.1 * shape.rows * shape.routed);
  }
  /// An expert of the layer that is none of those.
  cubby_object other(uint32_t layer, const experts &than, prng &random) const {
    for (;;) {
      const auto object =
          static_cast<cubby_object>(layer * shape.columns + random.below(shape.columns));
      if (std::find(than.begin(), than.end(), object) == than.end()) return object;
    }
  }
  experts any(uint32_t layer, uint32_t count, prng &random) const {
    experts drawn;
    while (drawn.size() < count) drawn.push_back(other(layer, drawn, random));
    return drawn;
  }
  /// In a circle through all experts: LRU finds none of them again.
  experts next_of_circle(uint32_t layer, uint32_t token) const {
    experts used;
    for (uint32_t i = 0; i < shape.routed; ++i)
      used.push_back(layer * shape.columns + (token * shape.routed + i) % shape.columns);
    return used;
  }
  /// Those that LRU holds and moe does not, as far as there are any.
  experts worst(uint32_t layer, prng &random) const {
    experts used;
    for (const cubby_object object : lru.residents)
      if (object / shape.columns == layer && !moe.resident(object) && used.size() < shape.routed)
        used.push_back(object);
    while (used.size() < shape.routed) used.push_back(other(layer, used, random));
    return used;
  }

  const policy_fixture::shape shape;
  fixture moe, lru;
  double lead = 0, highest = 0, uses = 0;  // lead: hits of moe more than LRU's
};

}  // namespace

TEST_CASE("moe is not led below LRU by one who sees what it holds", "[placement][moe]") {
  for (const uint32_t friendly : {0u, 20u, 100u}) {
    for (const uint32_t capacity : {20u, 40u, 80u}) {
      INFO(friendly << " tokens for it of 150, capacity " << capacity);
      comparison of(model_of(4, 32, 2, capacity));
      prng random(friendly + capacity);
      for (uint32_t token = 0; token < 1500; ++token)
        for (uint32_t layer = 0; layer < of.shape.rows; ++layer)
          of.visit(layer, token % 150 < friendly ? of.next_of_circle(layer, token)
                                                 : of.worst(layer, random));
      CHECK((friendly < 100 || of.highest > 20));  // it has more to lose than is allowed
    }
  }
}

TEST_CASE("Sequences that begin anew do not take moe below LRU", "[placement][moe]") {
  for (uint64_t seed = 1; seed <= 8; ++seed) {
    INFO("seed " << seed);
    prng random(seed);
    const uint32_t layers = seed % 2 == 0 ? 24 : 6;
    const uint64_t length = 15 + 25 * (seed % 3);
    comparison of(model_of(layers, 32, 4, layers * (seed % 4 < 2 ? 14 : 24)));
    std::vector<experts> favourites(layers);
    for (uint32_t token = 0; token < 24000 / layers; ++token) {
      for (uint32_t layer = 0; layer < layers; ++layer) {
        experts &liked = favourites[layer];
        if (token % length == 0) liked = of.any(layer, 8, random);
        experts used;
        while (used.size() < 4) {
          const cubby_object object = liked[random.below(liked.size())];
          if (std::find(used.begin(), used.end(), object) == used.end()) used.push_back(object);
        }
        of.visit(layer, used);
      }
    }
  }
}

TEST_CASE("Who follows whom may change at any time without taking moe below LRU",
          "[placement][moe]") {
  for (const uint32_t every : {20u, 50u, 200u}) {
    for (const uint32_t capacity : {32u, 96u, 160u}) {
      INFO("every " << every << " tokens, capacity " << capacity);
      comparison of(model_of(6, 32, 4, capacity));
      prng random(every);
      std::vector<uint32_t> follower(16);
      for (uint32_t i = 0; i < 16; ++i) follower[i] = i;
      for (uint32_t token = 0, state = 0; token < 1500; ++token) {
        if (token % every == 0)
          for (uint32_t i = 15; i > 0; --i) std::swap(follower[i], follower[random.below(i + 1)]);
        state = random.chance(1, 10) ? static_cast<uint32_t>(random.below(16)) : follower[state];
        for (uint32_t layer = 0; layer < of.shape.rows; ++layer) {
          prng set(state * 64 + layer);
          of.visit(layer, of.any(layer, 4, set));
        }
      }
    }
  }
}

}  // namespace moe_bound_test
