// Which share of the experts that tokens choose is found in a tier that holds a part of them all.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/plan/chain.hpp"

namespace cubby_cli::plan {

/// Points by rising share of the experts that are held; straight lines between them.
struct hit_curve {
  struct point {
    double share = 0, hits = 0;
    /// Of all visits of a layer, the shares of those in which 0, 1, 2 … experts are missing; none
    /// where nobody counted them.
    std::vector<double> missing = {};
  };
  std::vector<point> points;
  origin from = origin::assumed;
  std::string source;

  /// 0 holds nothing, 1 everything, whatever the points say.
  [[nodiscard]] double at(double share) const;
  /// As it was counted at the nearest point; nothing where it was not.
  [[nodiscard]] const std::vector<double> *missing_at(double share) const;
};

/// Every expert is chosen as often as any other, and nothing of a choice is remembered.
hit_curve uniform_hits();
/// The popularity of a layer's experts falls as 1 / rank^exponent; the most popular are held.
hit_curve zipf_hits(uint32_t experts, double exponent);

/// Different experts of a layer that `users` tokens choose, each `top_k` of `experts`,
/// independently and evenly.
double distinct_experts(double experts, double top_k, double users);

}  // namespace cubby_cli::plan
