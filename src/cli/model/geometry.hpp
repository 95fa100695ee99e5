// The shape of a model that make-model can write, and the list of tensors that follows from it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cli/model/blocks.hpp"
#include "cli/outcome.hpp"

namespace cubby_cli::model {

struct geometry {
  uint32_t layers = 24;
  uint32_t experts = 32;
  uint32_t top_k = 4;
  uint32_t hidden = 1024;
  uint32_t ffn = 768;
  weight_type type = weight_type::q8_0;
  bool mixed_quant = false;  // every second layer has the other type
  uint64_t seed = 1;

  uint32_t head_width() const { return hidden % 64 == 0 ? 64 : 32; }
  uint32_t heads() const { return hidden / head_width(); }
  uint32_t key_value_heads() const { return heads() % 4 == 0 ? heads() / 4 : heads(); }
  weight_type expert_type(uint32_t layer) const;
};

/// What a tensor's numbers are drawn from.
enum class filling { weights, near_one };

struct tensor {
  std::string name;
  weight_type type;
  std::vector<uint64_t> shape;  // as GGUF has it: the fastest dimension first
  filling fill = filling::weights;

  uint64_t count() const;
  uint64_t bytes() const { return bytes_of(type, count()); }
};

/// Usage trouble for shapes that no model can have.
done check(const geometry &shape);
std::vector<tensor> tensors_of(const geometry &shape, uint32_t vocabulary);

}  // namespace cubby_cli::model
