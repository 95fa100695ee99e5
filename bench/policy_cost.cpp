// What a decision of `moe` costs: a layer visit with learning, victims and admission, by experts a
// layer. Beside it the index alone, by the fastest code and by its scalar reference, in the same
// run. Usage: policy_cost [LAYERS EXPERTS CHOSEN]. Routes are made up: topics that drift, so that
// about as much is missing as with real ones.
#include <cubby/policy.h>
#include <time.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "base/prng.hpp"
#include "placement/moe/index.hpp"

namespace {

using cubby::base::prng;
using namespace cubby::placement;

struct geometry {
  uint32_t layers, experts, chosen;
};

uint64_t processor_ns() {
  timespec now = {};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

std::vector<cubby_object> make_routes(const geometry &of, uint32_t tokens) {
  prng dice(1);
  std::vector<cubby_object> used;
  uint32_t topic = 0;
  for (uint32_t token = 0; token < tokens; ++token) {
    if (dice.chance(1, 20)) topic = static_cast<uint32_t>(dice.below(12));
    for (uint32_t layer = 0; layer < of.layers; ++layer) {
      const size_t first = used.size();
      while (used.size() < first + of.chosen) {
        prng liked(topic * 4096 + layer * 64 + dice.below(2 * of.chosen));
        const auto expert = dice.chance(4, 5) ? liked.below(of.experts) : dice.below(of.experts);
        const auto object = static_cast<cubby_object>(layer * of.experts + expert);
        if (std::find(used.begin() + static_cast<std::ptrdiff_t>(first), used.end(), object) ==
            used.end())
          used.push_back(object);
      }
    }
  }
  return used;
}

struct setting {
  cubby_policy_bank bank = {};
  cubby_policy_config config = {};
  explicit setting(const geometry &of) {
    bank.struct_size = sizeof bank;
    bank.kind = CUBBY_POLICY_BANK_EXPERTS;
    bank.rows = of.layers;
    bank.columns = of.experts;
    bank.routed_count = of.chosen;
    bank.object_bytes = 1;
    config.struct_size = sizeof config;
    config.abi_version = CUBBY_POLICY_ABI_VERSION;
    config.banks = &bank;
    config.bank_count = 1;
    config.object_count = of.layers * of.experts;
    config.budget_bytes = config.object_count / 4;
    config.slot_count = 1;
  }
};

/// Medians of the time of a visit over runs of whole tokens.
template <class Visit>
double median_ns(const geometry &of, const std::vector<cubby_object> &routes, const Visit &visit) {
  std::vector<double> times;
  const uint32_t visits = static_cast<uint32_t>(routes.size() / of.chosen);
  const uint32_t run = of.layers * 8;
  for (uint32_t first = 0; first + run <= visits; first += run) {
    const uint64_t started = processor_ns();
    for (uint32_t v = first; v < first + run; ++v) {
      const cubby_object *used = routes.data() + size_t{v} * of.chosen;
      const cubby_policy_route route = {0, of.chosen, used};
      cubby_policy_visit record = {};
      record.struct_size = sizeof record;
      record.row = v % of.layers;
      record.used = used;
      record.used_count = of.chosen;
      record.routes = &route;
      record.route_count = 1;
      record.number = v;
      visit(record);
    }
    if (first >= visits / 4)
      times.push_back(static_cast<double>(processor_ns() - started) / static_cast<double>(run));
  }
  std::nth_element(times.begin(), times.begin() + static_cast<std::ptrdiff_t>(times.size() / 2),
                   times.end());
  return times[times.size() / 2];
}

struct cache {
  const cubby_policy_ops &ops;
  cubby_policy *policy;
  std::vector<uint8_t> resident;
  uint64_t room, hits = 0, uses = 0;

  void visit(const cubby_policy_visit &record) {
    cubby_object missing[64];
    uint32_t count = 0;
    for (uint32_t i = 0; i < record.used_count; ++i)
      if (resident[record.used[i]] == 0) missing[count++] = record.used[i];
    hits += record.used_count - count;
    uses += record.used_count;
    ops.visit(policy, &record);
    for (uint32_t i = 0; i < count; ++i) bring(missing[i]);
  }
  void bring(cubby_object object) {
    if (room > 0) {
      --room;
    } else {
      const cubby_policy_need need = {sizeof need, object, 1, 0};
      ops.begin_victims(policy, &need);
      const cubby_object victim = ops.next_victim(policy);
      if (victim == CUBBY_NO_OBJECT || ops.admit(policy, object, victim) == 0) return;
      resident[victim] = 0;
      ops.removed(policy, victim);
    }
    resident[object] = 1;
    ops.inserted(policy, object, 1);
  }
};

void measure(const geometry &of) {
  if (of.layers == 0 || of.experts == 0 || of.chosen == 0 ||
      of.chosen > std::min(of.experts, 64u)) {
    std::fprintf(
        stderr,
        "policy_cost: a geometry is layers, experts, and how many of them are chosen (1 to 64)\n");
    std::exit(2);
  }
  const auto routes = make_routes(of, of.experts > 128 ? 400 : 2000);
  const setting made(of);
  const cubby_policy_ops &ops = *cubby_policy_find("moe");
  cubby_policy *policy = nullptr;
  if (ops.create(&made.config, &policy) != 0) {
    std::fprintf(stderr, "policy_cost: no memory\n");
    std::exit(1);
  }
  cache driver = {ops, policy, std::vector<uint8_t>(made.config.object_count),
                  made.config.budget_bytes};
  const double whole = median_ns(of, routes, [&](const auto &record) { driver.visit(record); });
  cubby_policy_stats stats = {};
  stats.struct_size = sizeof stats;
  ops.stats(policy, &stats);
  ops.destroy(policy);
  double alone[2];
  for (int scalar = 0; scalar < 2; ++scalar) {
    moe::index index(made.config, scalar != 0 ? moe::scalar_kernel() : moe::best_kernel());
    uint32_t layer = 0;
    alone[scalar] = median_ns(of, routes, [&](const auto &record) { index.visit(record, layer); });
  }
  std::printf(
      "%3u layers x %3u experts, %u of them: %6.0f ns a visit; index %6.0f, scalar %7.0f; "
      "hits %.0f %%; %.0f bytes an expert, %.1f MiB\n",
      of.layers, of.experts, of.chosen, whole, alone[0], alone[1],
      100 * static_cast<double>(driver.hits) / static_cast<double>(driver.uses),
      static_cast<double>(stats.state_bytes) / made.config.object_count,
      static_cast<double>(stats.state_bytes) / 1048576);
}

}  // namespace

int main(int count, char **words) {
  if (count == 4) {
    const auto number = [&](int i) {
      return static_cast<uint32_t>(std::strtoul(words[i], nullptr, 10));
    };
    measure({number(1), number(2), number(3)});
    return 0;
  }
  for (const geometry &of : {geometry{24, 32, 4},
                             {26, 64, 6},
                             {48, 128, 8},
                             {94, 128, 8},
                             {58, 256, 8},
                             {61, 384, 8},
                             {48, 512, 10}})
    measure(of);
  return 0;
}
