#include <algorithm>

#include "cli/plan/read/model_facts.hpp"
#include "cli/plan/read/tensor_bytes.hpp"

namespace cubby_cli::plan {
namespace {

struct gguf_key {
  const char *key, *name;  // without the architecture
};
constexpr gguf_key gguf_keys[] = {{"block_count", "layers"},
                                  {"embedding_length", "hidden"},
                                  {"context_length", "context"},
                                  {"attention.head_count", "heads"},
                                  {"attention.head_count_kv", "kv-heads"},
                                  {"attention.key_length", "head-dim"},
                                  {"attention.value_length", "value-dim"},
                                  {"attention.key_length_mla", "key-mla"},
                                  {"attention.value_length_mla", "value-mla"},
                                  {"attention.kv_lora_rank", "latent"},
                                  {"attention.q_lora_rank", "q-rank"},
                                  {"attention.sliding_window", "window"},
                                  {"attention.indexer.head_count", "index-heads"},
                                  {"attention.indexer.key_length", "index-dim"},
                                  {"attention.indexer.top_k", "index-top"},
                                  {"rope.dimension_count", "rope"},
                                  {"expert_count", "experts"},
                                  {"expert_used_count", "top-k"},
                                  {"expert_shared_count", "shared-experts"},
                                  {"expert_shared_feed_forward_length", "shared-size"},
                                  {"expert_feed_forward_length", "expert-size"},
                                  {"feed_forward_length", "dense-size"},
                                  {"leading_dense_block_count", "dense-layers"},
                                  {"vocab_size", "vocab"}};

/// GGUF counts MLA's latent and rotary elements as one key of one head.
void untangle_latents(fact_map &numbers) {
  const auto value = [&](const char *name) {
    const auto found = numbers.find(name);
    return found == numbers.end() || found->second.empty() ? 0.0 : found->second[0];
  };
  if (value("latent") > 0) {
    const double rope = value("rope");
    if (value("key-mla") > rope)
      numbers["head-dim"] = {value("key-mla") - rope};
    else if (value("head-dim") > rope)
      numbers["head-dim"] = {value("head-dim") - rope};
    if (value("value-mla") > 0) numbers["value-dim"] = {value("value-mla")};
  }
  numbers.erase("key-mla");
  numbers.erase("value-mla");
}

}  // namespace

outcome<model_facts> read_gguf_facts(const std::string &path) {
  const model_header header = read_gguf_header(path);
  if (!header.failure.empty()) return usage_trouble(header.failure);
  model_facts made;
  made.path = path;
  made.architecture = header.architecture;
  for (const gguf_key &one : gguf_keys) {
    const auto found = header.numbers.find(made.architecture + '.' + one.key);
    if (found == header.numbers.end()) continue;
    for (const double value : found->second)
      if (!(value >= 0 && value <= count_max))
        return usage_trouble(path + ": " + found->first + " is " + short_number(value) +
                             ", which no model has; the file is damaged or another kind of model, "
                             "get it again");
    made.numbers[one.name] = found->second;
  }
  untangle_latents(made.numbers);
  add_tensors(header, made);
  return made;
}

}  // namespace cubby_cli::plan
