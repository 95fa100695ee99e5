// Forecasts of coming tokens, given to `moe` beside a real trace: good ones help, bad ones do not
// take it below LRU.
#include <cubby/policy.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <random>
#include <vector>

#include "cli/replay/formats/read_trace.hpp"
#include "cli/replay/walk/schedule.hpp"
#include "support/catch.hpp"
#include "support/policy_fixture.hpp"

namespace forecast_test {

namespace {

using namespace cubby_cli::replay;

constexpr uint32_t tokens_max = 12000;

/// The visits of some tokens, and what they chose.
struct run {
  uint32_t layers, experts, k;
  std::vector<cubby_object> used;  // [token][layer][k]

  [[nodiscard]] const cubby_object *at(uint64_t token, uint32_t layer) const {
    return used.data() + (token * layers + layer) * k;
  }
  [[nodiscard]] uint64_t tokens() const { return used.size() / (uint64_t{layers} * k); }
};

run beginning_of(const expert_trace &of) {
  run made = {of.layers, of.experts, of.top_k, {}};
  for (uint64_t token = 0; token < of.tokens() && token < tokens_max; ++token)
    for (uint32_t layer = 0; layer < of.layers; ++layer)
      for (uint32_t k = 0; k < of.top_k; ++k)
        made.used.push_back(layer * of.experts + of.at(token, layer)[k]);
  return made;
}

/// The forecast of a token, given before it and the two before it run.
using forecast = std::function<std::vector<cubby_object>(uint64_t token)>;

/// A quarter of all experts fit.
policy_fixture::shape quarter_of(const run &of) {
  policy_fixture::shape shape;
  shape.kind = CUBBY_POLICY_BANK_EXPERTS;
  shape.rows = of.layers;
  shape.columns = of.experts;
  shape.routed = of.k;
  shape.capacity = of.layers * of.experts / 4;
  return shape;
}

/// Hits in % of all uses.
double hits(const char *name, const run &of, const forecast &predicted) {
  policy_fixture::fixture h(name, quarter_of(of));
  uint64_t found = 0;
  for (uint64_t token = 0; token < of.tokens(); ++token) {
    for (uint32_t ahead = 1; predicted && ahead <= 3 && token + ahead <= of.tokens(); ++ahead)
      h.foresee(ahead, predicted(token + ahead - 1));
    for (uint32_t layer = 0; layer < of.layers; ++layer)
      found += h.visit(layer, {of.at(token, layer), of.at(token, layer) + of.k});
  }
  return 100 * static_cast<double>(found) / static_cast<double>(of.used.size());
}

}  // namespace

TEST_CASE("Forecasts of the token to come and two more help where they are right", "[traces]") {
  const std::string name = std::string(CUBBY_TRACES_DIR) + "/routing/gpt-oss-20b.jsonl.xz";
  if (!std::filesystem::exists(name)) {
    WARN("skipped: there is no " << name << "; set CUBBY_TRACES_DIR");
    return;
  }
  const auto read = read_trace(name);
  REQUIRE(read);
  const run of = beginning_of(read->experts);
  const auto truth = [&](uint64_t token) {
    const cubby_object *first = of.at(token, 0);
    return std::vector<cubby_object>(first, first + size_t{of.layers} * of.k);
  };
  std::mt19937 dice(4);
  const auto random = [&](uint64_t) {
    std::vector<cubby_object> any;
    for (uint32_t layer = 0; layer < of.layers; ++layer)
      for (uint32_t k = 0; k < of.k; ++k)
        any.push_back(layer * of.experts + static_cast<cubby_object>(dice() % of.experts));
    return any;
  };
  const auto wrong = [&](uint64_t token) {  // never one that is used
    std::vector<cubby_object> others;
    for (uint32_t layer = 0; layer < of.layers; ++layer) {
      const cubby_object *used = of.at(token, layer);
      for (cubby_object object = layer * of.experts; object < (layer + 1) * of.experts; ++object)
        if (std::find(used, used + of.k, object) == used + of.k && dice() % 7 == 0)
          others.push_back(object);
    }
    return others;
  };
  const double lru = hits("lru", of, {}), without = hits("moe", of, {});
  const double right = hits("moe", of, truth), noise = hits("moe", of, random);
  const double misled = hits("moe", of, wrong);
  INFO("LRU " << lru << ", moe " << without << ", right " << right << ", random " << noise
              << ", wrong " << misled);
  WARN("hits in %: LRU " << lru << ", moe " << without << ", with right forecasts " << right
                         << ", with random ones " << noise << ", with wrong ones " << misled);
  CHECK(right > without + 3);
  CHECK(noise > without - 0.3);
  CHECK(noise >= lru - 0.2);
  CHECK(misled >= lru - 0.2);
}

}  // namespace forecast_test
