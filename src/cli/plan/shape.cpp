#include "cli/plan/shape.hpp"

#include <iterator>

namespace cubby_cli::plan {
namespace {

double product(double a, double b) { return a * b; }

struct weight_type {
  const char *name;
  double bytes;
};
// Bits of a block with its scales over its elements. OCP MX v1.0 (mxfp4: 4 + 8/32 bits), NVIDIA
// NVFP4 (4 + 8/16), ggml's block_q* structs.
constexpr weight_type types[] = {{"f32", 4},          {"bf16", 2},         {"f16", 2},
                                 {"fp8", 1},          {"int8", 1},         {"q8_0", 1.0625},
                                 {"q6_k", 0.8203125}, {"q5_k", 0.6875},    {"q4_k", 0.5625},
                                 {"q4_0", 0.5625},    {"int4", 0.5625},    {"nvfp4", 0.5625},
                                 {"mxfp4", 0.53125},  {"q3_k", 0.4296875}, {"q2_k", 0.328125}};

}  // namespace

const char *name_of(attention kind) {
  switch (kind) {
    case attention::heads:
      return "heads";
    case attention::latent:
      return "latent";
    default:
      return "entry";
  }
}

std::optional<double> weight_bytes_of(const std::string &type) {
  for (const weight_type &one : types)
    if (type == one.name) return one.bytes;
  return std::nullopt;
}

std::string weight_type_names() {
  std::string names;
  for (const weight_type &one : types) names += (names.empty() ? "" : ", ") + std::string(one.name);
  return names;
}

double attention_parameters(const model_shape &of) {
  const double hidden = of.hidden, heads = of.q_heads, key = of.head_dim, value = of.value_size();
  switch (of.kind) {
    case attention::heads:
      return hidden * heads * key + hidden * of.kv_heads * (key + value) + heads * value * hidden;
    case attention::latent: {
      const double query = key + of.rope_dim;
      const double queries =
          of.q_rank == 0 ? hidden * heads * query : hidden * of.q_rank + of.q_rank * heads * query;
      return queries + hidden * (of.latent_rank + of.rope_dim) +
             of.latent_rank * heads * (key + value) + heads * value * hidden;
    }
    default: {
      const double out = of.o_groups == 0
                             ? heads * key * hidden
                             : heads * key * of.o_rank + product(of.o_groups, of.o_rank) * hidden;
      return hidden * of.q_rank + of.q_rank * heads * key + hidden * key + out;
    }
  }
}

double index_parameters(const model_shape &of) {
  if (of.kind != attention::latent) return 0;  // in extra_parameters
  double sum = 0;
  for (const layer_group &group : of.groups)
    sum +=
        group.count * (product(of.q_rank, group.index_heads) * group.index_dim +
                       product(of.hidden, group.index_dim) + product(of.hidden, group.index_heads));
  return sum;
}

double expert_parameters(const model_shape &of) {
  return product(of.ffn_matrices, of.hidden) * of.moe_intermediate;
}

double routed_parameters(const model_shape &of) {
  return product(of.moe_layers, of.routed_experts) * expert_parameters(of);
}

double backbone_parameters(const model_shape &of) {
  return of.layers * attention_parameters(of) + index_parameters(of) + of.extra_parameters +
         product(of.ffn_matrices, of.hidden) * product(of.dense_layers, of.dense_intermediate) +
         product(of.moe_layers, of.shared_experts) * expert_parameters(of) +
         product(of.moe_layers, of.routed_experts) * of.hidden;  // the router
}

double embedding_parameters(const model_shape &of) { return product(of.vocab, of.hidden); }

double total_parameters(const model_shape &of) {
  return routed_parameters(of) + backbone_parameters(of) +
         (of.tied_embeddings ? 1 : 2) * embedding_parameters(of);
}

double active_parameters(const model_shape &of) {
  return backbone_parameters(of) + embedding_parameters(of) +
         product(of.moe_layers, of.top_k) * expert_parameters(of);
}

double routed_bytes(const model_shape &of) {
  return of.expert_bytes.value_or(routed_parameters(of) * of.expert_weight_bytes);
}

double dense_bytes(const model_shape &of) {
  return of.dense_bytes.value_or((total_parameters(of) - routed_parameters(of)) *
                                 of.dense_weight_bytes);
}

double expert_bytes_each(const model_shape &of) {
  return of.has_experts() ? routed_bytes(of) / product(of.moe_layers, of.routed_experts) : 0;
}

double active_weight_bytes(const model_shape &of) {
  const double experts = product(of.moe_layers, of.top_k);
  const double others = active_parameters(of) - experts * expert_parameters(of);
  const double each = dense_bytes(of) / (total_parameters(of) - routed_parameters(of));
  return (others * each + experts * expert_bytes_each(of)) / active_parameters(of);
}

model_shape with_standard_attention(model_shape of) {
  of.title += " with standard attention";
  of.kind = attention::heads;
  of.kv_heads = of.q_heads;
  of.rope_dim = of.latent_rank = of.q_rank = of.o_groups = of.o_rank = 0;
  of.extra_parameters = 0;
  of.groups = {{of.layers}};
  return of;
}

}  // namespace cubby_cli::plan
