#include "cli/bench/kv_sides.hpp"

#include "cli/bench/blocks.hpp"
#include "cli/bench/compare.hpp"

namespace cubby_cli::bench {
namespace {

std::vector<double> speeds(const kv_side &of) {
  std::vector<double> all;
  for (const sample &one : of.samples) all.push_back(one.gb_per_s());
  return all;
}

/// Nanoseconds a byte are seconds a gigabyte.
double s_per_gb(const kv_side &of, uint64_t sample::*ns) {
  std::vector<double> all;
  for (const sample &one : of.samples) {
    all.push_back(static_cast<double>(one.*ns) / static_cast<double>(one.bytes));
  }
  return median(all);
}

}  // namespace

done take_turns(const std::vector<kv_side *> &sides, uint32_t warm_up, uint32_t rounds,
                const std::string &what, progress_line &line) {
  for (uint32_t round = 0; round < warm_up + rounds; round++) {
    for (size_t i = 0; i < sides.size(); i++) {
      kv_side &one = *sides[(i + round) % sides.size()];
      auto took = one.run(round);
      if (!took) return trouble{what + ", " + one.name + ": " + took.failure().text};
      if (round >= warm_up) one.samples.push_back(*took);
    }
    if (line.due()) {
      line.show(what + ": round " + std::to_string(round + 1) + " of " +
                std::to_string(warm_up + rounds));
    }
  }
  return nothing{};
}

nlohmann::json compared_row(const char *row, uint64_t block_bytes, const kv_side &ours,
                            const kv_side &reference, double goal_ratio) {
  const auto mine = speeds(ours), theirs = speeds(reference);
  nlohmann::json ratio = interval(ratios(mine, theirs));
  const bool met = ratio["median"].get<double>() >= goal_ratio;
  return {{"row", row},
          {"block_bytes", block_bytes},
          {"ours_gb_per_s", median(mine)},
          {"reference_gb_per_s", median(theirs)},
          {"reference", reference.name},
          {"ratio", std::move(ratio)},
          {"goal_ratio", goal_ratio},
          {"goal_met", met},
          {"ours_cpu_s_per_gb", s_per_gb(ours, &sample::cpu_ns)},
          {"reference_cpu_s_per_gb", s_per_gb(reference, &sample::cpu_ns)},
          {"ours_starved_s_per_gb", s_per_gb(ours, &sample::starved_ns)},
          {"reference_starved_s_per_gb", s_per_gb(reference, &sample::starved_ns)}};
}

}  // namespace cubby_cli::bench
