// What the names of tensors say: which expert of which layer, and which part of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace cubby::store {

struct expert_name {
  std::string_view block;  // what stands before the layer: a model's layers, those of its MTP block
  uint32_t layer = 0;
  uint32_t order = 0;  // gate, up, down: the order of parts in a locker
  std::string part;
  std::optional<uint32_t> column;  // of per-expert tensors
  bool merged = false;             // experts follow each other within the slowest dimension
};

/// Of GGUF and safetensors alike. The block is a view of `text`.
std::optional<expert_name> read_expert_name(std::string_view text);

}  // namespace cubby::store
