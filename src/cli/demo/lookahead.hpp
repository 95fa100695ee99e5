// What is asked for before its layer begins: the next layer's experts as a router has chosen them,
// those of layers farther ahead as a predictor would name them.
#pragma once

#include <vector>

#include "cli/demo/routes.hpp"
#include "cli/demo/source.hpp"
#include "cli/model/weights.hpp"

namespace cubby_cli::demo {

struct lookahead_choice {
  uint32_t layers = 1;  // 0 = nothing is asked for ahead
  /// Of the experts that are named more than one layer ahead; the others are wrong ones at random.
  uint32_t right_percent = 100;
  uint64_t seed = 1;
};

class lookahead {
 public:
  lookahead(const routes &chosen, uint32_t experts, const lookahead_choice &how);
  /// As this layer of this token begins. A layer is predicted once, as soon as it is near enough,
  /// and asked for again when the layer before it begins: its router has chosen by then.
  void ask(expert_source &source, uint32_t token, uint32_t layer);

 private:
  const std::vector<uint16_t> &predict(uint32_t token, uint32_t layer);

  const routes &chosen_;
  const uint32_t experts_;
  const lookahead_choice how_;
  model::random_stream random_;
  std::vector<uint16_t> predicted_;
};

}  // namespace cubby_cli::demo
