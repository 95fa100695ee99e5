// Computes the products of one layer after another, each over pinned experts: those that are in
// memory first, the others as they land.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "expert_store.hpp"
#include "look_ahead.hpp"
#include "products.hpp"

namespace cubby_ggml {

/// A MUL_MAT_ID node, and where its experts are.
struct expert_product {
  ggml_tensor *node = nullptr;
  expert_place place;
};

enum class layer_outcome { computed, declined, failed };

class expert_layer {
 public:
  explicit expert_layer(ggml_backend_t cpu) : cpu_(cpu) {}

  /// Products of one row with the same ids. Experts stay pinned until all parts of the row have
  /// been used, so that gate, up and down are one visit. Declined: not one expert finds room.
  layer_outcome run(std::span<const expert_product> products, const ggml_cgraph &graph);
  /// Lets go of what is held.
  void release();

 private:
  bool same_layer(const expert_place &place) const;
  layer_outcome run_held(std::span<const expert_product> products, const ggml_cgraph &graph);
  layer_outcome run_in_rounds(std::span<const expert_product> products, const ggml_cgraph &graph);
  layer_outcome compute_as_they_land(cubby::pins &pins, std::span<const uint64_t> experts,
                                     std::span<const expert_product> products,
                                     const ggml_cgraph &graph);
  std::span<const uint64_t> numbers_of(std::span<const uint64_t> experts);
  cubby::result<cubby::pins> pin(std::span<const uint64_t> experts);
  void look_ahead_of(const ggml_tensor &node);
  bool wait(cubby::pins &pins);
  layer_outcome fail(const std::string &what) const;

  ggml_backend_t cpu_;
  expert_place place_;  // of the layer at hand
  routing routes_, next_routes_;
  cubby::pins held_;
  bool holding_ = false;
  size_t parts_used_ = 0;
  product_batch batch_;
  look_ahead ahead_;
  std::vector<char> done_;
  std::vector<uint64_t> numbers_;
  std::string why_;
};

}  // namespace cubby_ggml
