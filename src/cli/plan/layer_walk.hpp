// Steps taken layer by layer where the experts of a layer are known while the one before it is
// computed: what is missing in one layer cannot be moved behind the products of many. The model of
// `cubby replay --timing` (docs/timing.md), fed with how many are missing in a layer instead of
// with which. Pure, and the same on every machine.
#pragma once

#include <cstdint>
#include <vector>

namespace cubby_cli::plan {

/// Of so many experts that a layer uses, each missing with the same chance: how likely it is that
/// 0, 1, 2 … of them are missing.
std::vector<double> binomial_misses(uint32_t each, double miss_share);

struct layer_walk {
  /// What takes one expert after the other: a disk, a link, the thread that makes digests. Ways
  /// that name the same server wait for each other there.
  struct stage {
    uint32_t server = 0;
    std::vector<double> move_s;  // of one, where 1, 2, 3 … come at once; the last for all above
    std::vector<double> last_s;  // by which the last of so many is there later; empty: by nothing
    double latency_s = 0;
  };
  /// One place that experts come from. Likelihoods are of 0, 1, 2 … experts that neither it nor a
  /// faster place has to bring: what the places before it hold is found there.
  struct way {
    std::vector<double> missing;  // in the places before this one
    std::vector<stage> over;      // in this order
  };
  uint32_t layers = 0;
  double experts = 0;     // that a layer uses
  double compute_s = 0;   // of a layer
  bool ahead = false;     // they are asked for as the layer before begins, but those of the first
  std::vector<way> ways;  // from the fastest on
};

/// What compute waits in a step, in the mean.
double walk_stall_s(const layer_walk &of);

}  // namespace cubby_cli::plan
