// How long demand waited for what was not there, as a histogram with fixed bounds.
#pragma once

#include <array>
#include <cstdint>

namespace cubby::engine {

struct load_times {
  /// Inclusive; what takes longer than the last is counted behind it.
  static constexpr std::array<uint64_t, 15> bounds_ns = {
      50'000,      100'000,     250'000,       500'000,       1'000'000,
      2'500'000,   5'000'000,   10'000'000,    25'000'000,    50'000'000,
      100'000'000, 250'000'000, 1'000'000'000, 2'500'000'000, 10'000'000'000};

  std::array<uint64_t, bounds_ns.size() + 1> counts{};  // of each range alone
  uint64_t sum_ns = 0;

  void add(uint64_t ns) {
    size_t at = 0;
    while (at < bounds_ns.size() && ns > bounds_ns[at]) ++at;
    ++counts[at];
    sum_ns += ns;
  }
};

}  // namespace cubby::engine
