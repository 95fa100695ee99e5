// Forecasts of coming tokens, told to `moe` beside a real trace: good ones help, bad ones do not
// take it below LRU.
#include <cubby/policy.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <random>
#include <vector>

#include "cli/replay/schedule.hpp"
#include "support/catch.hpp"

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

/// What is told of a token before it and the two before it run.
using forecast = std::function<std::vector<cubby_object>(uint64_t token)>;

class house {
 public:
  house(const char *name, const run &of) : ops_(*cubby_policy_find(name)), run_(of) {
    cubby_policy_bank bank = {};
    bank.struct_size = sizeof bank;
    bank.kind = CUBBY_POLICY_BANK_EXPERTS;
    bank.rows = of.layers;
    bank.columns = of.experts;
    bank.routed_count = of.k;
    bank.object_bytes = 1;
    cubby_policy_config config = {};
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_POLICY_ABI_VERSION;
    config.banks = &bank;
    config.bank_count = 1;
    config.object_count = of.layers * of.experts;
    config.budget_bytes = room_ = config.object_count / 4;
    resident_.resize(config.object_count);
    REQUIRE(ops_.create(&config, &policy_) == 0);
  }
  ~house() { ops_.destroy(policy_); }
  house(const house &) = delete;
  house &operator=(const house &) = delete;

  /// Hits in % of all uses.
  double hits(const forecast &told) {
    uint64_t found = 0;
    for (uint64_t token = 0; token < run_.tokens(); ++token) {
      for (uint32_t ahead = 1; told && ahead <= 3 && token + ahead <= run_.tokens(); ++ahead)
        tell(told(token + ahead - 1), ahead);
      for (uint32_t layer = 0; layer < run_.layers; ++layer)
        found += visit(layer, run_.at(token, layer));
    }
    return 100 * static_cast<double>(found) / static_cast<double>(run_.used.size());
  }

 private:
  void tell(const std::vector<cubby_object> &objects, uint32_t ahead) {
    cubby_policy_hint hint = {};
    hint.struct_size = sizeof hint;
    hint.kind = CUBBY_POLICY_HINT_ROUTE;
    hint.ahead = ahead;
    hint.objects = objects.data();
    hint.object_count = static_cast<uint32_t>(objects.size());
    REQUIRE(ops_.hint(policy_, &hint) == 1);
  }
  uint32_t visit(uint32_t layer, const cubby_object *used) {
    const cubby_policy_route route = {0, run_.k, used};
    cubby_policy_visit told = {};
    told.struct_size = sizeof told;
    told.row = layer;
    told.used = used;
    told.used_count = run_.k;
    told.routes = &route;
    told.route_count = 1;
    told.number = number_++;
    std::vector<cubby_object> missing;
    for (uint32_t i = 0; i < run_.k; ++i)
      if (resident_[used[i]] == 0) missing.push_back(used[i]);
    ops_.visit(policy_, &told);
    for (const cubby_object who : missing) bring(who);
    return run_.k - static_cast<uint32_t>(missing.size());
  }
  void bring(cubby_object who) {
    if (room_ > 0) {
      --room_;
    } else {
      const cubby_policy_need need = {sizeof need, who, 1, 0};
      ops_.begin_victims(policy_, &need);
      const cubby_object victim = ops_.next_victim(policy_);
      if (ops_.admit != nullptr && ops_.admit(policy_, who, victim) == 0) return;
      resident_[victim] = 0;
      ops_.removed(policy_, victim);
    }
    resident_[who] = 1;
    ops_.inserted(policy_, who, 1);
  }

  const cubby_policy_ops &ops_;
  const run &run_;
  cubby_policy *policy_ = nullptr;
  std::vector<uint8_t> resident_;
  uint64_t room_ = 0, number_ = 0;
};

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
      for (cubby_object who = layer * of.experts; who < (layer + 1) * of.experts; ++who)
        if (std::find(used, used + of.k, who) == used + of.k && dice() % 7 == 0)
          others.push_back(who);
    }
    return others;
  };
  const double lru = house("lru", of).hits({}), without = house("moe", of).hits({});
  const double right = house("moe", of).hits(truth), noise = house("moe", of).hits(random);
  const double misled = house("moe", of).hits(wrong);
  INFO("LRU " << lru << ", moe " << without << ", right " << right << ", random " << noise
              << ", wrong " << misled);
  WARN("hits in %: LRU " << lru << ", moe " << without << ", with right forecasts " << right
                         << ", with random ones " << noise << ", with wrong ones " << misled);
  CHECK(right > without + 3);
  CHECK(noise > without - 0.3);
  CHECK(noise >= lru - 0.2);
  CHECK(misled >= lru - 0.2);
}
