#include "cli/plan/layer_walk.hpp"

#include <algorithm>
#include <cmath>

#include "base/prng.hpp"

namespace cubby_cli::plan {
namespace {

constexpr uint32_t steps_taken = 64;

/// The first count up to which the likelihoods sum to more than `at`.
uint32_t count_at(const std::vector<double> &likely, double at) {
  double sum = 0;
  for (size_t count = 0; count + 1 < likely.size(); count++) {
    sum += likely[count];
    if (at < sum) return static_cast<uint32_t>(count);
  }
  return likely.empty() ? 0 : static_cast<uint32_t>(likely.size() - 1);
}

/// As many numbers in [0, 1), evenly spread and in no order.
std::vector<double> even_dice(size_t count) {
  std::vector<double> made(count);
  for (size_t i = 0; i < count; i++)
    made[i] = (static_cast<double>(i) + 0.5) / static_cast<double>(count);
  cubby::base::prng random(count);
  for (size_t i = count; i-- > 1;) std::swap(made[i], made[random.below(i + 1)]);
  return made;
}

/// Of a list by count: where `count` is more than it has, the last.
double by_count(const std::vector<double> &of, uint32_t count) {
  return of.empty() ? 0 : of[std::min<size_t>(count, of.size()) - 1];
}

size_t servers_of(const layer_walk &of) {
  size_t count = 0;
  for (const layer_walk::way &one : of.ways)
    for (const layer_walk::stage &each : one.over) count = std::max<size_t>(count, each.server + 1);
  return count;
}

class walker {
 public:
  explicit walker(const layer_walk &of) : of_(of), free_s_(servers_of(of), 0) {}

  void layer(double die, bool first) {
    const double asked_s = of_.ahead && !first ? began_s_ : now_s_;
    began_s_ = now_s_;
    ask(die, asked_s);
    const double part_s = of_.experts > 0 ? of_.compute_s / of_.experts : 0;
    const auto missing = static_cast<double>(there_s_.size());
    now_s_ += of_.compute_s - std::min(of_.compute_s, part_s * missing);
    for (const double there_s : there_s_) now_s_ = std::max(now_s_, there_s) + part_s;
  }
  [[nodiscard]] double now_s() const { return now_s_; }

 private:
  /// When each of those that are missing has come. Many at one place and many at the next go
  /// together, as one die is thrown for all.
  void ask(double die, double asked_s) {
    there_s_.clear();
    uint32_t above = UINT32_MAX;
    for (size_t i = 0; i < of_.ways.size(); i++) {
      const uint32_t here = std::min(above, count_at(of_.ways[i].missing, die));
      const uint32_t beyond =
          i + 1 < of_.ways.size() ? std::min(here, count_at(of_.ways[i + 1].missing, die)) : 0;
      for (uint32_t one = beyond; one < here; one++)
        there_s_.push_back(move(of_.ways[i], asked_s, here - beyond, one + 1 == here));
      above = here;
    }
    std::sort(there_s_.begin(), there_s_.end());
  }

  /// One of `count` that were asked for together; the last is held up by the slowest read.
  double move(const layer_walk::way &by, double asked_s, uint32_t count, bool last) {
    double at_s = asked_s;
    for (const layer_walk::stage &each : by.over) {
      double &free_s = free_s_[each.server];
      free_s = std::max(at_s, free_s) + by_count(each.move_s, count);
      at_s = free_s + each.latency_s + (last ? by_count(each.last_s, count) : 0);
    }
    return at_s;
  }

  const layer_walk &of_;
  std::vector<double> free_s_, there_s_;  // of each server; of each expert that is missing
  double now_s_ = 0, began_s_ = 0;
};

}  // namespace

std::vector<double> binomial_misses(uint32_t each, double miss_share) {
  const double p = std::clamp(miss_share, 0.0, 1.0);
  std::vector<double> made(size_t{each} + 1, 0);
  if (p <= 0 || p >= 1) {
    made[p <= 0 ? 0 : each] = 1;
    return made;
  }
  const double n = each;
  for (uint32_t k = 0; k <= each; k++) {
    const double ways = std::lgamma(n + 1) - std::lgamma(k + 1.0) - std::lgamma(n - k + 1);
    made[k] = std::exp(ways + k * std::log(p) + (n - k) * std::log1p(-p));
  }
  return made;
}

double walk_stall_s(const layer_walk &of) {
  walker by(of);
  const std::vector<double> dice = even_dice(size_t{steps_taken} * of.layers);
  for (size_t i = 0; i < dice.size(); i++) by.layer(dice[i], i % of.layers == 0);
  const double all_s = by.now_s() / steps_taken;
  return std::max(0.0, all_s - of.layers * of.compute_s);
}

}  // namespace cubby_cli::plan
