// The decode loop: real products with the experts of every token and layer, whatever they come
// from.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "cli/demo/lookahead.hpp"
#include "cli/demo/routes.hpp"
#include "cli/demo/source.hpp"

namespace cubby_cli::demo {

struct decoded {
  uint32_t tokens = 0;
  double seconds = 0;
  uint64_t compute_ns = 0, computed_bytes = 0;  // of products alone
  uint64_t compute_cpu_ns = 0, cpu_ns = 0;      // processor time: of products, of this thread
  std::string output_digest;                    // XXH3-64: tells outputs of different ways apart
  std::vector<float> states;                    // [token][hidden]; of products::plain alone
};

/// How an expert is multiplied: quantised is with a vector in blocks of eight bits, as fast as this
/// processor can; plain is with floats in the order of the reference kernels, of every format that
/// they have.
enum class products { quantised, plain };

struct decode_choice {
  products by = products::quantised;
  lookahead_choice ahead;
};

/// What a token adds to the state before it.
void embed(uint32_t token, std::span<float> to);

/// For each token: a hidden state from the token's number and the state before it; per layer its
/// normalised form goes through the routed experts, whose outputs are added in the order of the
/// routes, whatever order they landed in. Attention and the router are left out: they live in the
/// body of the model, not in lockers. `progress` is called after each token.
outcome<decoded> decode(const expert_file &file, const routes &chosen, expert_source &source,
                        const std::function<void(uint32_t)> &progress,
                        const decode_choice &how = {});

}  // namespace cubby_cli::demo
