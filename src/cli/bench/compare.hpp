// Ways to read, in turn, sample by sample.
#pragma once

#include "cli/bench/reader.hpp"

namespace cubby_cli::bench {

struct competitor {
  std::string name;
  std::unique_ptr<reader> by;
  std::vector<double> gb_per_s, cpu_ns;  // [pair]; CPU a read
};

struct rounds {
  uint32_t pairs = 0;
  uint64_t sample_bytes = 0;
};

/// About 64 MiB asked for at once, the same for all: the disk stays busy while what came is looked
/// at.
uint32_t depth_for(uint64_t block_bytes);

/// One round over all in turn, the first of them another one each time.
done measure(std::vector<competitor> &all, const layout &file, const rounds &wanted,
             progress_line &line);

/// Pair by pair.
std::vector<double> ratios(const std::vector<double> &ours, const std::vector<double> &theirs);

}  // namespace cubby_cli::bench
