#include "cli/plan/read_tail.hpp"

#include <algorithm>
#include <cmath>

namespace cubby_cli::plan {
namespace {

constexpr double past_p50 = 0.5, past_p99 = 0.01, past_p999 = 0.001;  // shares that take longer

/// What a stretch of the curve adds to the mean of the longest: the integral over time of the
/// chance that one of the reads takes longer. With s the share of reads that do, and dt = -scale
/// ds/s, that is scale times the integral of (1 - (1 - s)^n) / s, a geometric sum.
double stretch(double from_share, double to_share, uint32_t reads) {
  double sum = 0, below_from = 1, below_to = 1;
  for (uint32_t i = 1; i <= reads; i++) {
    below_from *= 1 - from_share;
    below_to *= 1 - to_share;
    sum += (below_to - below_from) / i;
  }
  return sum;
}

}  // namespace

double last_of_s(const read_tail &of, uint32_t reads) {
  if (reads == 0) return 0;
  // Percentiles of few reads may not even be in order.
  const double p99_s = std::max(of.p50_s, of.p99_s), p999_s = std::max(p99_s, of.p999_s);
  const double near_s = (p99_s - of.p50_s) / std::log(past_p50 / past_p99);
  const double far_s = (p999_s - p99_s) / std::log(past_p99 / past_p999);
  return of.p50_s + near_s * stretch(past_p50, past_p99, reads) +
         far_s * stretch(past_p99, 0, reads);
}

double last_behind_s(const read_tail &of, uint32_t reads) {
  return reads == 0 ? 0 : last_of_s(of, reads) - last_of_s(of, 1);
}

}  // namespace cubby_cli::plan
