#include "cli/replay/walk/simulate.hpp"

namespace cubby_cli::replay {
namespace {

outcome<simulated> to_the_end(const outcome<std::unique_ptr<walk>> &one) {
  if (!one) return one.failure();
  while ((*one)->advance()) {
  }
  return (*one)->finish();
}

}  // namespace

outcome<simulated> simulate_experts(const expert_schedule &of, const simulation &how) {
  return to_the_end(make_walk(of, how));
}

outcome<simulated> simulate_kv(const kv_trace &of, const std::vector<uint32_t> &next,
                               const simulation &how) {
  return to_the_end(make_walk(of, next, how));
}

std::vector<uint32_t> next_touches(const kv_trace &of) {
  std::vector<uint32_t> next(of.blocks.size()), upcoming(of.unique, ~uint32_t{0});
  for (size_t r = of.requests.size(); r-- > 0;) {
    const kv_request &request = of.requests[r];
    const size_t first = request.first_block;
    for (size_t i = first; i < first + request.block_count; ++i) next[i] = upcoming[of.blocks[i]];
    for (size_t i = first; i < first + request.block_count; ++i)
      upcoming[of.blocks[i]] = static_cast<uint32_t>(r);
  }
  return next;
}

}  // namespace cubby_cli::replay
