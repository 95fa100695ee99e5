// Has experts of the next layer read while the layer at hand is computed: those that are not in
// memory, as long as such forecasts are good.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "expert_store.hpp"

namespace cubby_ggml {

class look_ahead {
 public:
  /// The layer's experts are known. `missed`: some are not in memory.
  void begin_layer(const expert_place &place, std::span<const uint64_t> experts, bool missed);
  /// `input`: of the layer's experts; `top_k`: that a token uses of them; `room`: experts of the
  /// next layer that find room beside them.
  void ask_for_next(const ggml_tensor &input, uint32_t top_k, uint32_t room);

 private:
  /// Of forecasts of one rank: a router's first choices are surer than its last.
  struct record {
    double named = 0, right = 0;  // of late

    bool is_good() const;
    void add(bool was_right);
  };
  record &of_rank(uint16_t rank) { return records_[std::min<size_t>(rank, ranks - 1)]; }
  void compare(std::span<const uint64_t> experts);

  static constexpr size_t ranks = 16;

  expert_place place_;
  router_forecast::workspace work_;
  std::vector<router_forecast::expected> expected_;  // of the next row, and not in memory
  std::vector<uint16_t> asked_;                      // of these
  std::array<record, ranks> records_;
  uint64_t since_miss_ = 0;  // layers
  uint64_t layers_ = 0;
  uint64_t begun_ns_ = 0, pace_ns_ = 0;  // from one layer to the next
};

}  // namespace cubby_ggml
