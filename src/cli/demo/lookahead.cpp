#include "cli/demo/lookahead.hpp"

#include <algorithm>

namespace cubby_cli::demo {

lookahead::lookahead(const routes &chosen, uint32_t experts, const lookahead_choice &how)
    : chosen_(chosen), experts_(experts), how_(how), random_(how.seed, 78) {}

void lookahead::ask(expert_source &source, uint32_t token, uint32_t layer) {
  const uint32_t last = std::min(how_.layers, chosen_.layers - 1 - layer);
  if (last == 0) return;
  source.forecast(layer + 1, chosen_.at(token, layer + 1), chosen_.top_k, true);
  for (uint32_t ahead = layer == 0 ? 2 : std::max(how_.layers, 2u); ahead <= last; ++ahead) {
    source.forecast(layer + ahead, predict(token, layer + ahead).data(), chosen_.top_k, false);
  }
}

const std::vector<uint16_t> &lookahead::predict(uint32_t token, uint32_t layer) {
  const uint16_t *const right = chosen_.at(token, layer);
  predicted_.assign(right, right + chosen_.top_k);
  if (experts_ <= chosen_.top_k) return predicted_;  // all are named: none is wrong
  for (uint16_t &one : predicted_) {
    if (random_.below(100) < how_.right_percent) continue;
    do {
      one = static_cast<uint16_t>(random_.below(experts_));
    } while (std::find(right, right + chosen_.top_k, one) != right + chosen_.top_k);
  }
  return predicted_;
}

}  // namespace cubby_cli::demo
