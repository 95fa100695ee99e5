// What config.json says about a model's experts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cubby::store {

struct model_config {
  uint32_t routed_count = 0;  // experts a token uses
  uint32_t expert_count = 0;  // experts in a layer
};

/// Zeros, and a note where the first is one, for what the file in `folder` does not say.
model_config read_config(const std::string &folder, std::vector<std::string> &notes);

}  // namespace cubby::store
