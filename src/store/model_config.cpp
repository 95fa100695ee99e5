#include "store/model_config.hpp"

#include <algorithm>
#include <initializer_list>

#include "store/json_text.hpp"

namespace cubby::store {
namespace {

using nlohmann::json;
using key_list = std::initializer_list<const char *>;

constexpr uint32_t depth_max = 6;
/// Where the language model's part of a config lies, in models of more kinds; block_configs has an
/// entry a layer.
constexpr const char *holders[] = {"text_config", "llm_config",     "language_config",
                                   "ffn_config",  "thinker_config", "block_configs"};

/// A number, or the largest of a list of numbers (one a layer).
uint32_t count_of(const json &value) {
  if (value.is_array()) {
    uint32_t largest = 0;
    for (const json &one : value)
      if (!one.is_array()) largest = std::max(largest, count_of(one));
    return largest;
  }
  const auto count = unsigned_of(value);
  return count && *count <= UINT32_MAX ? static_cast<uint32_t>(*count) : 0;
}

uint32_t find_count(const json &config, key_list keys, uint32_t depth = 0) {
  if (depth > depth_max) return 0;
  uint32_t found = 0;
  if (config.is_array()) {
    for (const json &one : config) found = std::max(found, find_count(one, keys, depth + 1));
    return found;
  }
  if (!config.is_object()) return 0;
  for (const char *key : keys)
    if (config.contains(key) && (found = count_of(config[key])) != 0) return found;
  for (const char *holder : holders)
    if (config.contains(holder) && (found = find_count(config[holder], keys, depth + 1)) != 0)
      return found;
  return 0;
}

}  // namespace

model_config read_config(const std::string &folder, std::vector<std::string> &notes) {
  const std::string path = folder + "config.json";
  auto config = read_json(path);
  if (!config) {
    notes.push_back("how many experts a token uses is not known: " + config.failure().text);
    return {};
  }
  model_config found;
  found.routed_count = find_count(
      *config, {"num_experts_per_tok", "num_experts_per_token", "experts_per_token",
                "top_k_experts", "moe_topk", "moe_top_k", "moe_k", "num_selected_experts",
                "num_activated_experts", "n_activated_experts", "moe_router_topk"});
  found.expert_count = find_count(
      *config, {"moe_num_experts", "num_experts", "num_local_experts", "n_routed_experts"});
  if (found.routed_count == 0)
    notes.push_back(path + " does not say how many experts a token uses");
  return found;
}

}  // namespace cubby::store
