// Which experts the next layer will probably use: what its router says of the input of the layer at
// hand. Both inputs are the same hidden state, normed, but for what one layer adds to it (A.
// Eliseev, D. Mazur, "Fast Inference of Mixture-of-Experts Language Models with Offloading", 2023,
// part 3.2).
#pragma once

#include <compare>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "ggml_host.hpp"

namespace cubby_ggml {

/// The routers of a model, in llama.cpp's mapping of its files. They are read there, not copied.
class router_forecast {
 public:
  /// `block_of_row`: by row of the bank, the beginning of its tensors' names, such as "blk.3.".
  /// Rows without a router of floats in a mapped file have no forecast.
  router_forecast(std::span<const std::string> files, std::span<const std::string> block_of_row,
                  uint32_t experts);

  struct expected {
    uint16_t expert = 0;
    uint16_t rank = 0;  // 0 = some token's best
    auto operator<=>(const expected &) const = default;
  };
  /// Memory of a caller, used again.
  struct workspace {
    std::vector<float> state, scores;
    std::vector<uint16_t> order;
    std::vector<expected> chosen;  // by number
  };
  /// Experts of row `row` + 1, each once: the `top_k` best of every token of `input` (F32
  /// [width, 1, tokens], the input of row `row`'s experts), of tokens_max of them at most. In
  /// work.chosen; none where nothing can be said.
  void after(uint32_t row, const ggml_tensor &input, uint32_t top_k, workspace &work) const;

  /// Of more tokens, which are spread over the batch, the next layer uses nearly all experts
  /// anyway.
  static constexpr int64_t tokens_max = 32;

 private:
  struct router {
    std::span<const float> weights;      // [experts][width]
    std::span<const float> bias;         // [experts], of the products; may be empty
    std::span<const float> choice_bias;  // [experts], of their sigmoids, for the choice alone
    std::span<const float> norm;         // [width], that the input was multiplied with
  };

  void look_into(const std::string &file, std::span<const std::string> block_of_row);
  bool fits(const router &here, const router &next, uint64_t width) const;
  void score(const router &next, workspace &work) const;
  static void choose(uint32_t top_k, workspace &work);

  uint32_t experts_;
  std::vector<router> routers_;  // by row
};

}  // namespace cubby_ggml
