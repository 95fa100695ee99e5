// What the last of several reads takes, from the shape that a profile gives of one: its median,
// 99th and 99.9th percentile. Pure.
#pragma once

#include <cstdint>

namespace cubby_cli::plan {

struct read_tail {
  double p50_s = 0, p99_s = 0, p999_s = 0;
};

/// Of so many reads that begin together and end each by itself, when the last is expected to have
/// ended. Between the three points the share of reads that take longer falls exponentially, behind
/// them as between the last two; half of all take the median.
double last_of_s(const read_tail &of, uint32_t reads);

/// How much later that is than the mean end of one.
double last_behind_s(const read_tail &of, uint32_t reads);

}  // namespace cubby_cli::plan
