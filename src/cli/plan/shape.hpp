// A model's geometry, and how many parameters it has. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/plan/chain.hpp"

namespace cubby_cli::plan {

/// What a layer keeps of a token: keys and values of each KV head (MHA, MQA, GQA), one latent
/// vector and a rotary key (MLA), or one entry that is key and value at once (DeepSeek-V4).
enum class attention { heads, latent, entry };
const char *name_of(attention kind);

/// Layers that keep alike.
struct layer_group {
  uint32_t count = 0;
  bool all_tokens = true;    // false: the window alone
  uint32_t window = 0;       // last tokens held one by one, beside what `all_tokens` keeps
  uint32_t ratio = 1;        // tokens in one entry of what `all_tokens` keeps
  uint32_t index_heads = 0;  // a lightning indexer chooses which entries are read
  uint32_t index_dim = 0;
  uint32_t index_top = 0;  // entries that are read; 0 = all
};

struct model_shape {
  std::string name, title;
  uint32_t layers = 0, hidden = 0, vocab = 0;
  uint32_t dense_layers = 0, dense_intermediate = 0;
  uint32_t moe_layers = 0, routed_experts = 0, shared_experts = 0, top_k = 0;
  uint32_t moe_intermediate = 0;
  uint32_t ffn_matrices = 3;  // gate, up, down
  attention kind = attention::heads;
  uint32_t q_heads = 0, kv_heads = 0;
  uint32_t head_dim = 0;                   // of a key; of MLA without its rotary part
  uint32_t value_dim = 0;                  // 0 = head_dim
  uint32_t latent_rank = 0, rope_dim = 0;  // MLA; rope_dim of V4's entries, too
  uint32_t q_rank = 0;                     // of low-rank queries; 0 = full
  uint32_t o_groups = 0, o_rank = 0;       // of grouped low-rank output projections
  std::vector<layer_group> groups;
  double extra_parameters = 0;  // beside what the formulas count
  bool tied_embeddings = false;
  uint64_t context_max = 0;
  std::string expert_type = "bf16", dense_type = "bf16";
  double expert_weight_bytes = 2, dense_weight_bytes = 2;  // of one weight
  std::optional<double> expert_bytes, dense_bytes;         // all of them, where a file tells
  std::optional<double> input_embedding_bytes;             // of the dense ones, the same
  double table_bytes = 0, table_read_bytes = 0;            // lookup rows; read a token
  origin from = origin::preset;
  std::string source;

  [[nodiscard]] bool has_experts() const { return moe_layers > 0 && routed_experts > 0; }
  [[nodiscard]] uint32_t value_size() const { return value_dim != 0 ? value_dim : head_dim; }
};

/// Bytes of a weight of such a type: "bf16", "fp8", "mxfp4" …; nothing where it is not known.
std::optional<double> weight_bytes_of(const std::string &type);
std::string weight_type_names();

double attention_parameters(const model_shape &of);  // of a layer, without its indexer
double index_parameters(const model_shape &of);      // of all layers, MLA with an indexer
double expert_parameters(const model_shape &of);     // of one
double routed_parameters(const model_shape &of);     // of all routed experts
/// All but routed experts and embeddings.
double backbone_parameters(const model_shape &of);
double embedding_parameters(const model_shape &of);  // of one matrix, vocab × hidden
double total_parameters(const model_shape &of);
/// What a token multiplies with: the output matrix, not the input's, of which it reads a row.
double active_parameters(const model_shape &of);

double routed_bytes(const model_shape &of);
/// All but the routed experts: the backbone and the embeddings.
double dense_bytes(const model_shape &of);
double expert_bytes_each(const model_shape &of);
/// Of one weight that a token multiplies with, in the mean.
double active_weight_bytes(const model_shape &of);

/// With keys and values for every query head in every layer, as in a standard transformer.
model_shape with_standard_attention(model_shape of);

}  // namespace cubby_cli::plan
