// Which experts each token uses in each layer: from a file of real decisions, or made up.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/outcome.hpp"

namespace cubby_cli::demo {

struct routes {
  uint32_t layers = 0, top_k = 0, tokens = 0;
  std::string origin;             // what to tell a person
  std::vector<uint16_t> experts;  // [token][layer][k]

  [[nodiscard]] const uint16_t *at(uint32_t token, uint32_t layer) const {
    return experts.data() + (size_t{token} * layers + layer) * top_k;
  }
};

/// The first `tokens` tokens of a `routed_experts` JSONL, plain or .xz; tokens that were not
/// recorded (-1) are passed over. Trouble when its layers, experts or top-k are not the model's.
outcome<routes> read_routes(const std::string &path, uint32_t layers, uint32_t experts,
                            uint32_t top_k, uint32_t tokens);

/// A stand-in where there is no recording. Each layer has popularities that fall as 1/sqrt(rank)
/// over a shuffled order; each choice repeats one of the layer's previous token with probability
/// 0.45 and is drawn anew otherwise. It models that some experts are common and that neighbours in
/// text share experts; it models no dependence between layers.
routes make_routes(uint32_t layers, uint32_t experts, uint32_t top_k, uint32_t tokens,
                   uint64_t seed);

}  // namespace cubby_cli::demo
