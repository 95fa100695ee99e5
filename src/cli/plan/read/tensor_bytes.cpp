#include "cli/plan/read/tensor_bytes.hpp"

#include <algorithm>
#include <cctype>

namespace cubby_cli::plan {
namespace {

bool has(const std::string &name, const char *part) { return name.find(part) != std::string::npos; }

bool is_expert(const std::string &name) { return has(name, "_exps.") || has(name, ".experts."); }

bool is_table(const std::string &name) {
  return has(name, "engram") || has(name, "per_layer_token_embd") ||
         has(name, "embed_tokens_per_layer") || has(name, "ngram_embed");
}

std::string small(std::string type) {
  std::transform(type.begin(), type.end(), type.begin(),
                 [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  if (type == "f8_e4m3" || type == "f8_e5m2") return "fp8";
  return type;
}

/// The type with the most bytes.
struct tally {
  std::map<std::string, double> bytes;
  [[nodiscard]] std::string most() const {
    std::string found;
    double largest = 0;
    for (const auto &[type, sum] : bytes)
      if (sum > largest) {
        largest = sum;
        found = type;
      }
    return found;
  }
};

}  // namespace

void add_tensors(const model_header &from, model_facts &to) {
  tally experts, others;
  bool output = false;
  for (const tensor_brief &one : from.tensors) {
    const std::string type = small(one.type);
    if (is_table(one.name)) {
      to.table_bytes += one.bytes;
    } else if (is_expert(one.name)) {
      to.expert_bytes += one.bytes;
      experts.bytes[type] += one.bytes;
    } else {
      to.dense_bytes += one.bytes;
      others.bytes[type] += one.bytes;
    }
    const bool input = one.name == "token_embd.weight" || one.name.ends_with("embed_tokens.weight");
    if (input) to.input_embedding_bytes += one.bytes;
    if (input && to.numbers.count("vocab") == 0 && one.rows > 1)
      to.numbers["vocab"] = {static_cast<double>(one.rows)};
    output = output || one.name == "output.weight" || one.name.ends_with("lm_head.weight");
  }
  to.has_tensors = !from.tensors.empty();
  if (to.has_tensors && !output && to.numbers.count("tied") == 0) to.numbers["tied"] = {1};
  to.expert_type = experts.most();
  to.dense_type = others.most();
}

}  // namespace cubby_cli::plan
