// Has experts of the next layer read while the layer at hand is computed, as long as its forecasts
// are good and there is something to read.
#pragma once

#include <cstdint>
#include <span>

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
  bool is_good() const;

  expert_place place_;
  router_forecast::workspace
      work_;  // its `chosen` are expected of the next row, where it is not empty
  double named_ = 0, right_ = 0;  // of late
  uint64_t since_miss_ = 0;       // layers
  uint64_t layers_ = 0;
  uint64_t begun_ns_ = 0, pace_ns_ = 0;  // from one layer to the next
};

}  // namespace cubby_ggml
