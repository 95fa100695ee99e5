// Experts and KV blocks in one tier: the split follows the load, and less time is waited.
#include "base/prng.hpp"
#include "placement/mixed/split.hpp"
#include "support/policy_fixture.hpp"

namespace mixed_test {

namespace {

using cubby::base::prng;

constexpr uint32_t layers = 4, columns = 32, blocks = 4096;
constexpr uint64_t expert_bytes = 64 << 10, block_bytes = 16 << 10;
constexpr uint64_t expert_ns = 40'000, block_ns = 60'000;
constexpr uint64_t budget = layers * columns * expert_bytes * 3 / 4;

std::vector<cubby_policy_bank> banks() {
  return {policy_fixture::bank_of(CUBBY_POLICY_BANK_EXPERTS, 0, layers, columns, expert_bytes,
                                  expert_ns),
          policy_fixture::bank_of(CUBBY_POLICY_BANK_KV, layers * columns, 1, blocks, block_bytes,
                                  block_ns)};
}

/// Tokens that use all experts evenly, and now and then a request of one of a few sessions.
struct load {
  uint32_t tokens, request_every, sessions;
};

void run(policy_fixture::fixture &h, const load &of, prng &dice) {
  for (uint32_t token = 0; token < of.tokens; ++token) {
    h.now_ns += 20'000'000;
    for (uint32_t layer = 0; layer < layers; ++layer) {
      const auto a = static_cast<cubby_object>(std::min(dice.below(columns), dice.below(columns)));
      h.visit(0, layer, {layer * columns + a, layer * columns + (a + 1) % columns});
    }
    if (token % of.request_every != 0) continue;
    std::vector<cubby_object> prefix;
    const auto session = static_cast<cubby_object>(dice.below(of.sessions));
    for (uint32_t i = 0; i < 16; ++i)
      prefix.push_back(static_cast<cubby_object>(layers * columns + session * 16 + i));
    h.request(prefix);
  }
}

struct outcome {
  double share[3];  // of the bytes that blocks hold, after each phase
  uint64_t waited_ns;
};

outcome run_there_and_back(const char *name) {
  policy_fixture::fixture h(name, banks(), budget);
  prng dice(8);
  outcome result = {};
  const load phases[] = {{3000, 40, 4}, {3000, 1, 16}, {3000, 40, 4}};
  for (uint32_t i = 0; i < 3; ++i) {
    run(h, phases[i], dice);
    result.share[i] =
        static_cast<double>(h.bytes[1]) / static_cast<double>(h.bytes[0] + h.bytes[1]);
  }
  result.waited_ns = h.waited_ns;
  return result;
}

}  // namespace

TEST_CASE("The split of a tier follows the load from experts to KV blocks and back",
          "[placement][mixed]") {
  const outcome mixed = run_there_and_back("mixed"), lru = run_there_and_back("lru");
  INFO("share of blocks " << mixed.share[0] << ", " << mixed.share[1] << ", " << mixed.share[2]
                          << "; waited " << mixed.waited_ns / 1000 << " us, LRU "
                          << lru.waited_ns / 1000);
  CHECK(mixed.share[1] > mixed.share[0] + 0.15);
  CHECK(mixed.share[1] > mixed.share[2] + 0.15);
  CHECK(mixed.share[0] >= 0);
  CHECK(mixed.share[1] < 0.97);  // the floor of the experts
  CHECK(mixed.waited_ns < lru.waited_ns);
}

TEST_CASE("Where all that is used again fits, mixed does not wait for a split to be found",
          "[placement][mixed]") {
  // Of 6 MiB experts use 4.5, or sessions do: more than the half that each begins with. What comes
  // once passes through.
  const auto waited = [](const char *name, uint32_t experts, uint32_t sessions) {
    policy_fixture::fixture h(name, banks(), budget);
    for (uint32_t token = 0; token < 400; ++token) {
      h.now_ns += 20'000'000;
      for (uint32_t layer = 0; layer < layers; ++layer)
        h.visit(0, layer, {layer * columns + token % experts});
      std::vector<cubby_object> prefix;
      for (uint32_t i = 0; i < 16; ++i)
        prefix.push_back(layers * columns + token % sessions * 16 + i);
      h.request(prefix);
      const cubby_object once = layers * columns + 18 * 16 + token * 4;
      h.request({once, once + 1, once + 2, once + 3});
    }
    return h.waited_ns;
  };
  for (const auto &[experts, sessions] : {std::pair(18u, 1u), std::pair(1u, 18u)}) {
    const uint64_t mixed = waited("mixed", experts, sessions),
                   lru = waited("lru", experts, sessions);
    INFO(experts << " experts a layer, " << sessions << " sessions: " << mixed << ", LRU " << lru);
    CHECK(mixed <= lru + 8 * block_ns);
  }
}

TEST_CASE("Costs move the split: what is dear to fetch keeps more room", "[placement][mixed]") {
  const auto share = [](uint64_t ns) {
    auto all = banks();
    all[1].refetch_ns = ns;
    policy_fixture::fixture h("mixed", all, budget);
    prng dice(3);
    run(h, {6000, 2, 60}, dice);
    return static_cast<double>(h.bytes[1]) / static_cast<double>(h.bytes[0] + h.bytes[1]);
  };
  CHECK(share(2'000'000) > share(1'000) + 0.1);
}

TEST_CASE("Room goes to who gains clearly more from it, also where it takes much",
          "[placement][mixed]") {
  using cubby::placement::mixed::split;
  const auto after = [](double first_gain, double second_gain) {
    split shares(1000);
    for (uint32_t i = 0; i < 400; ++i) {
      shares.missed(0, 20, first_gain);    // 25 bytes more would have made it a hit
      shares.missed(1, 300, second_gain);  // 400
      shares.came(100);
    }
    return shares.target(1);
  };
  CHECK(after(0, 1) == Approx(980));  // all but the floor
  CHECK(after(1, 0) == Approx(20));
  CHECK(after(1, 20) == Approx(500));  // a byte gains 1/25 and 20/400: hysteresis
  CHECK(after(1, 40) > 900);
}

}  // namespace mixed_test
