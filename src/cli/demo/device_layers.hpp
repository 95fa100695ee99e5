// A decode step on a device, by the reference kernels: the same as decode() makes on the processor,
// put into a stream without a look at the host.
#pragma once

#include "cli/demo/device_here.hpp"
#include "cli/demo/routes.hpp"
#include "cli/demo/source.hpp"

namespace cubby_cli::demo {

/// Experts of a layer, as a look-up has found them.
struct found_experts {
  cubby_slots slots{};
  uint64_t words = 0;    // uint64_t[top_k] in the device's memory
  uint64_t outcome = 0;  // int32_t of the look-up there; 0 = they are there
};

class device_layers {
 public:
  /// Takes memory of the device for all tokens.
  device_layers(device_here &on, const expert_file &file, const routes &chosen);

  /// The state of a token before its first layer. Tokens come in order, from 0 on.
  void begin(uint32_t token);
  void run(uint32_t token, uint32_t layer, const found_experts &experts);
  /// [token][hidden]: the states behind the last layer. Waits for the device.
  std::vector<float> states();

 private:
  void multiply(uint32_t layer, uint32_t part, const found_experts &experts, uint64_t input,
                uint64_t output);
  [[nodiscard]] uint64_t state(uint32_t token) const {
    return states_ + uint64_t{token} * file_.hidden * sizeof(float);
  }

  device_here &on_;
  const expert_file &file_;
  const uint32_t top_k_, tokens_;
  uint64_t embeddings_, states_;  // float[tokens][hidden]
  uint64_t normal_;               // float[hidden]
  uint64_t gate_, up_, outputs_;  // float[top_k][ffn or hidden]
};

}  // namespace cubby_cli::demo
