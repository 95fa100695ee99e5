#include "cli/model/geometry.hpp"

namespace cubby_cli::model {
namespace {

/// Larger shapes than any model has; they keep every product inside 64 bits.
constexpr uint32_t layers_max = 1024, experts_max = 65535, width_max = 65536;

done check_range(const char *flag, uint32_t value, uint32_t highest) {
  if (value >= 1 && value <= highest) return nothing{};
  return usage_trouble(std::string(flag) + " is " + std::to_string(value) + "; it must be 1 to " +
                       std::to_string(highest));
}

done check_blocks(const char *flag, uint32_t value) {
  if (value % block_weights == 0) return nothing{};
  const uint64_t below = value / block_weights * block_weights;
  return usage_trouble(std::string(flag) + " is " + std::to_string(value) +
                       "; quantised weights come in blocks of 32, so it must be a multiple of 32 "
                       "(the nearest: " +
                       std::to_string(below == 0 ? 32 : below) + ")");
}

}  // namespace

weight_type geometry::expert_type(uint32_t layer) const {
  if (!mixed_quant || layer % 2 == 0) return type;
  return type == weight_type::q8_0 ? weight_type::q4_0 : weight_type::q8_0;
}

uint64_t tensor::count() const {
  uint64_t product = 1;
  for (const uint64_t extent : shape) product *= extent;
  return product;
}

done check(const geometry &shape) {
  const struct {
    const char *flag;
    uint32_t value, highest;
  } ranges[] = {{"--layers", shape.layers, layers_max},
                {"--experts", shape.experts, experts_max},
                {"--top-k", shape.top_k, experts_max},
                {"--hidden", shape.hidden, width_max},
                {"--ffn", shape.ffn, width_max}};
  for (const auto &range : ranges)
    if (auto good = check_range(range.flag, range.value, range.highest); !good) return good;
  if (auto good = check_blocks("--hidden", shape.hidden); !good) return good;
  if (auto good = check_blocks("--ffn", shape.ffn); !good) return good;
  if (shape.top_k > shape.experts)
    return usage_trouble("--top-k is " + std::to_string(shape.top_k) + " of " +
                         std::to_string(shape.experts) +
                         " --experts; a token cannot use more experts than a layer has");
  return nothing{};
}

std::vector<tensor> tensors_of(const geometry &shape, uint32_t vocabulary) {
  const uint64_t hidden = shape.hidden, ffn = shape.ffn, experts = shape.experts;
  const uint64_t head = shape.head_width();
  const uint64_t queries = shape.heads() * head, keys = shape.key_value_heads() * head;
  constexpr auto body = weight_type::q8_0;
  constexpr auto plain = weight_type::f32;
  std::vector<tensor> all;
  const auto add = [&all](std::string name, weight_type type, std::vector<uint64_t> extents,
                          filling fill = filling::weights) {
    all.push_back({std::move(name) + ".weight", type, std::move(extents), fill});
  };
  add("token_embd", body, {hidden, vocabulary});
  for (uint32_t layer = 0; layer < shape.layers; layer++) {
    const std::string at = "blk." + std::to_string(layer) + ".";
    const weight_type type = shape.expert_type(layer);
    add(at + "attn_norm", plain, {hidden}, filling::near_one);
    add(at + "attn_q", body, {hidden, queries});
    add(at + "attn_k", body, {hidden, keys});
    add(at + "attn_v", body, {hidden, keys});
    add(at + "attn_output", body, {queries, hidden});
    add(at + "attn_q_norm", plain, {head}, filling::near_one);
    add(at + "attn_k_norm", plain, {head}, filling::near_one);
    add(at + "ffn_norm", plain, {hidden}, filling::near_one);
    add(at + "ffn_gate_inp", plain, {hidden, experts});
    add(at + "ffn_gate_exps", type, {hidden, ffn, experts});
    add(at + "ffn_up_exps", type, {hidden, ffn, experts});
    add(at + "ffn_down_exps", type, {ffn, hidden, experts});
  }
  add("output_norm", plain, {hidden}, filling::near_one);
  add("output", body, {hidden, vocabulary});
  return all;
}

}  // namespace cubby_cli::model
