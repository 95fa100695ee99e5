#include "cli/plan/hit_curve.hpp"

#include <algorithm>
#include <cmath>

namespace cubby_cli::plan {

double hit_curve::at(double share) const {
  if (share <= 0) return 0;
  if (share >= 1) return 1;
  const auto next = std::lower_bound(points.begin(), points.end(), share,
                                     [](const point &one, double at) { return one.share < at; });
  const point before = next == points.begin() ? point{0, 0} : *(next - 1);
  if (next != points.end())
    return before.hits +
           (next->hits - before.hits) * (share - before.share) / (next->share - before.share);
  return before.hits + (1 - before.hits) * (share - before.share) / (1 - before.share);
}

const std::vector<double> *hit_curve::missing_at(double share) const {
  const point *nearest = nullptr;
  for (const point &one : points)
    if (nearest == nullptr || std::abs(one.share - share) < std::abs(nearest->share - share))
      nearest = &one;
  return nearest == nullptr || nearest->missing.empty() ? nullptr : &nearest->missing;
}

hit_curve uniform_hits() { return {{}, origin::assumed, "every expert is chosen as often"}; }

hit_curve zipf_hits(uint32_t experts, double exponent) {
  hit_curve made;
  made.source = "popularity of a layer's experts falls as 1 / rank^" + short_number(exponent);
  double all = 0;
  for (uint32_t rank = 1; rank <= experts; rank++) all += std::pow(rank, -exponent);
  double held = 0;
  for (uint32_t rank = 1; rank < experts; rank++) {
    held += std::pow(rank, -exponent);
    made.points.push_back({double{1} * rank / experts, held / all, {}});
  }
  return made;
}

double distinct_experts(double experts, double top_k, double users) {
  if (experts <= 0) return 0;
  return experts * (1 - std::pow(1 - top_k / experts, users));
}

}  // namespace cubby_cli::plan
