#include <algorithm>
#include <cmath>
#include <filesystem>
#include <optional>

#include "cli/plan/read/model_facts.hpp"
#include "cli/plan/read/tensor_bytes.hpp"

namespace cubby_cli::plan {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct key_name {
  const char *key, *name;
};
constexpr key_name keys[] = {{"num_hidden_layers", "layers"},
                             {"n_layers", "layers"},
                             {"hidden_size", "hidden"},
                             {"d_model", "hidden"},
                             {"vocab_size", "vocab"},
                             {"max_position_embeddings", "context"},
                             {"num_attention_heads", "heads"},
                             {"num_key_value_heads", "kv-heads"},
                             {"head_dim", "head-dim"},
                             {"qk_nope_head_dim", "head-dim"},
                             {"v_head_dim", "value-dim"},
                             {"kv_lora_rank", "latent"},
                             {"qk_rope_head_dim", "rope"},
                             {"q_lora_rank", "q-rank"},
                             {"o_groups", "o-groups"},
                             {"o_lora_rank", "o-rank"},
                             {"num_experts", "experts"},
                             {"num_local_experts", "experts"},
                             {"n_routed_experts", "experts"},
                             {"num_experts_per_tok", "top-k"},
                             {"num_experts_per_token", "top-k"},
                             {"experts_per_token", "top-k"},
                             {"n_shared_experts", "shared-experts"},
                             {"shared_expert_intermediate_size", "shared-size"},
                             {"moe_intermediate_size", "expert-size"},
                             {"intermediate_size", "dense-size"},
                             {"first_k_dense_replace", "dense-layers"},
                             {"sliding_window", "window"},
                             {"index_n_heads", "index-heads"},
                             {"index_head_dim", "index-dim"},
                             {"index_topk", "index-top"},
                             {"compress_ratios", "compress-ratios"},
                             {"tie_word_embeddings", "tied"}};

std::vector<double> numbers_of(const json &value) {
  std::vector<double> found;
  if (value.is_number()) found.push_back(value.get<double>());
  if (value.is_boolean()) found.push_back(value.get<bool>() ? 1 : 0);
  if (value.is_array())
    for (const json &one : value)
      if (one.is_number()) found.push_back(one.get<double>());
  for (const double one : found)
    if (!(one >= 0 && one <= 1e9) || one != std::floor(one)) return {};
  return found;
}

/// The language model's part, where the config is of a model of more kinds.
const json &language_part(const json &config) {
  for (const char *holder : {"text_config", "llm_config", "language_config"})
    if (config.contains(holder) && config[holder].is_object()) return config[holder];
  return config;
}

std::string text_of(const json &in, const char *key) {
  return in.contains(key) && in[key].is_string() ? in[key].get<std::string>() : std::string();
}

/// "bfloat16" and "torch.bfloat16" of a config; nothing where the type is not known here.
std::optional<std::string> type_of_dtype(const std::string &name) {
  const std::string plain = name.starts_with("torch.") ? name.substr(6) : name;
  if (plain.empty() || plain == "auto" || plain == "bfloat16" || plain == "float16") return "bf16";
  if (plain == "float32") return "f32";
  if (plain.starts_with("float8")) return "fp8";
  return std::nullopt;
}

std::optional<std::string> type_of_bits(double bits, bool floating) {
  if (bits == 8) return floating ? "fp8" : "int8";
  if (bits == 4) return floating ? "nvfp4" : "int4";
  return std::nullopt;
}

double number_in(const json &in, const char *key, double otherwise) {
  return in.contains(key) && in[key].is_number() ? in[key].get<double>() : otherwise;
}

bool is_true(const json &in, const char *key) { return in.contains(key) && in[key] == true; }

/// Of compressed-tensors the first group of layers says how wide its weights are.
std::optional<std::string> type_of_groups(const json &quantization) {
  if (!quantization.contains("config_groups") || !quantization["config_groups"].is_object())
    return std::nullopt;
  for (const auto &[name, group] : quantization["config_groups"].items()) {
    if (!group.is_object() || !group.contains("weights")) continue;
    const json &weights = group["weights"];
    return type_of_bits(number_in(weights, "num_bits", 0), text_of(weights, "type") == "float");
  }
  return std::nullopt;
}

/// How a quantised checkpoint holds most of its weights; nothing where its method is not known.
std::optional<std::string> type_of_method(const std::string &method, const json &quantization) {
  if (method == "fp8" || method == "fbgemm_fp8") return "fp8";
  if (method == "gptq" || method == "awq")
    return type_of_bits(number_in(quantization, "bits", number_in(quantization, "w_bit", 4)),
                        false);
  if (method == "compressed-tensors") return type_of_groups(quantization);
  if (method == "bitsandbytes")
    return is_true(quantization, "load_in_4bit")   ? std::optional<std::string>("int4")
           : is_true(quantization, "load_in_8bit") ? std::optional<std::string>("int8")
                                                   : std::nullopt;
  if (method == "modelopt") {
    const std::string algorithm = text_of(quantization, "quant_algo");
    if (algorithm == "NVFP4") return "nvfp4";
    if (algorithm == "FP8") return "fp8";
  }
  return std::nullopt;
}

/// Types of the weights where no tensors are at hand to tell.
void read_types(const json &config, const json &text, model_facts &to) {
  std::string dtype = text_of(text, "torch_dtype");
  for (const json *one : {&text, &config})
    for (const char *key : {"dtype", "torch_dtype"})
      if (dtype.empty()) dtype = text_of(*one, key);
  to.dense_type = to.expert_type = type_of_dtype(dtype).value_or("type \"" + dtype + '"');
  const json &holder = text.contains("quantization_config") ? text : config;
  if (holder.contains("quantization_config") && holder["quantization_config"].is_object()) {
    const json &quantization = holder["quantization_config"];
    const std::string method = text_of(quantization, "quant_method");
    if (method == "mxfp4")
      to.expert_type = "mxfp4";
    else
      to.dense_type = to.expert_type =
          type_of_method(method, quantization)
              .value_or(method.empty() ? "a quantisation without a name"
                                       : "quantisation \"" + method + '"');
  }
  if (text_of(config, "expert_dtype") == "fp4" || text_of(text, "expert_dtype") == "fp4")
    to.expert_type = "mxfp4";
}

std::vector<std::string> names_in(const std::string &folder) {
  std::vector<std::string> names;
  std::error_code failed;
  for (const auto &one : fs::directory_iterator(folder, failed))
    names.push_back(one.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

done add_files(const std::string &folder, model_facts &to) {
  const std::vector<std::string> names = names_in(folder);
  const bool weights = std::any_of(names.begin(), names.end(), [](const std::string &name) {
    return name.ends_with(".safetensors");
  });
  if (!weights) return nothing{};
  const model_header header = read_safetensors_header(folder, names);
  if (!header.failure.empty()) return usage_trouble(header.failure);
  add_tensors(header, to);
  return nothing{};
}

}  // namespace

outcome<model_facts> read_config_facts(const std::string &path) {
  std::error_code ignored;
  const bool folder = fs::is_directory(path, ignored);
  const fs::path parent = fs::path(path).parent_path();
  const std::string home = folder ? path : parent.empty() ? "." : parent.string();
  // A list of shards tells of its folder, as a shard does; any other JSON is itself the config.
  const bool itself = !folder && path.ends_with(".json") && !path.ends_with(".index.json");
  const std::string file = itself ? path : (fs::path(home) / "config.json").string();
  json config;
  if (const std::string failure = read_config_json(file, config); !failure.empty())
    return usage_trouble(failure +
                         "; a model's geometry is read from its config.json, which has to lie "
                         "beside its safetensors");
  const json &text = language_part(config);
  model_facts made;
  made.path = path;
  made.architecture = text_of(text, "model_type");
  if (made.architecture.empty()) made.architecture = text_of(config, "model_type");
  for (const key_name &one : keys)
    if (text.contains(one.key))
      if (auto found = numbers_of(text[one.key]); !found.empty()) made.numbers[one.name] = found;
  if (text.contains("layer_types") && text["layer_types"].is_array())
    for (const json &one : text["layer_types"])
      if (one.is_string()) made.layer_kinds.push_back(one.get<std::string>());
  // Qwen writes a window that it does not use.
  if (text.contains("use_sliding_window") && text["use_sliding_window"] == false)
    made.numbers.erase("window");
  read_types(config, text, made);
  if (!itself)
    if (auto good = add_files(home, made); !good) return good.failure();
  return made;
}

}  // namespace cubby_cli::plan
