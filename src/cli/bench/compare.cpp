#include "cli/bench/compare.hpp"

#include <algorithm>

#include "cli/bench/blocks.hpp"

namespace cubby_cli::bench {

uint32_t depth_for(uint64_t block_bytes) {
  return static_cast<uint32_t>(std::clamp<uint64_t>((64u << 20) / block_bytes, 32, 128));
}

done measure(std::vector<competitor> &all, const layout &file, const rounds &wanted,
             progress_line &line) {
  const uint64_t count = std::max<uint64_t>(64, wanted.sample_bytes / file.block_bytes);
  for (uint32_t pair = 0; pair <= wanted.pairs; pair++) {
    const auto blocks = random_blocks(file.count(), count, pair + 1);
    for (size_t i = 0; i < all.size(); i++) {
      competitor &one = all[(i + pair) % all.size()];
      auto took = one.by->run(blocks);
      if (!took) return trouble{one.name + ": " + took.failure().text};
      if (pair == 0) continue;  // to warm up
      one.gb_per_s.push_back(took->gb_per_s());
      one.cpu_ns.push_back(static_cast<double>(took->cpu_ns) / static_cast<double>(blocks.size()));
    }
    if (line.due()) {
      line.show(bytes_text(file.block_bytes) + " blocks: round " + std::to_string(pair) + " of " +
                std::to_string(wanted.pairs));
    }
  }
  return nothing{};
}

std::vector<double> ratios(const std::vector<double> &ours, const std::vector<double> &theirs) {
  std::vector<double> paired;
  for (size_t i = 0; i < ours.size(); i++) paired.push_back(ours[i] / theirs[i]);
  return paired;
}

}  // namespace cubby_cli::bench
