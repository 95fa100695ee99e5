#include <algorithm>
#include <cctype>

#include "cli/plan/presets/presets.hpp"

namespace cubby_cli::plan {
namespace {

/// A mixture of experts.
struct mixture {
  uint32_t moe_layers = 0, routed = 0, shared = 0, top_k = 0, intermediate = 0;
};

model_shape base(const char *name, const char *title, uint32_t layers, uint32_t hidden,
                 uint32_t vocab, uint64_t context_max, const char *source) {
  model_shape made;
  made.name = name;
  made.title = title;
  made.layers = layers;
  made.hidden = hidden;
  made.vocab = vocab;
  made.context_max = context_max;
  made.source = source;
  made.groups = {{layers}};
  return made;
}

model_shape with_experts(model_shape made, const mixture &of, const char *type) {
  made.moe_layers = of.moe_layers;
  made.routed_experts = of.routed;
  made.shared_experts = of.shared;
  made.top_k = of.top_k;
  made.moe_intermediate = of.intermediate;
  made.expert_type = type;
  made.expert_weight_bytes = weight_bytes_of(type).value_or(2);
  return made;
}

model_shape with_dense(model_shape made, uint32_t layers, uint32_t intermediate) {
  made.dense_layers = layers;
  made.dense_intermediate = intermediate;
  return made;
}

model_shape with_heads(model_shape made, uint32_t q_heads, uint32_t kv_heads, uint32_t head_dim) {
  made.kind = attention::heads;
  made.q_heads = q_heads;
  made.kv_heads = kv_heads;
  made.head_dim = head_dim;
  return made;
}

/// Latents of 512 and rotary keys of 64, as all models of this kind here have.
model_shape with_latents(model_shape made, uint32_t q_heads, uint32_t q_rank) {
  made.kind = attention::latent;
  made.q_heads = q_heads;
  made.q_rank = q_rank;
  made.head_dim = made.value_dim = 128;
  made.latent_rank = 512;
  made.rope_dim = 64;
  return made;
}

model_shape with_indexer(model_shape made, uint32_t heads) {
  made.groups[0].index_heads = heads;
  made.groups[0].index_dim = 128;
  made.groups[0].index_top = 2048;
  return made;
}

/// Every second layer keeps a window alone.
model_shape with_windows(model_shape made, uint32_t window) {
  const uint32_t half = made.layers / 2;
  made.groups = {{made.layers - half}, {half, false, window}};
  return made;
}

/// DeepSeek-V4's: entries of 512, compressed 4:1 (of which an indexer chooses) or 128:1.
model_shape with_entries(model_shape made, uint32_t q_heads, uint32_t q_rank, uint32_t o_groups) {
  made.kind = attention::entry;
  made.q_heads = q_heads;
  made.kv_heads = 1;
  made.head_dim = 512;
  made.rope_dim = 64;
  made.q_rank = q_rank;
  made.o_groups = o_groups;
  made.o_rank = 1024;
  return made;
}

model_shape in_fp8(model_shape made) {
  made.dense_type = "fp8";
  made.dense_weight_bytes = 1;
  return made;
}

void add_deepseek(std::vector<model_shape> &to) {
  to.push_back(with_dense(with_heads(base("deepseek-67b", "DeepSeek-67B", 95, 8192, 102400, 4096,
                                          "DeepSeek LLM paper, arXiv 2401.02954"),
                                     64, 8, 128),
                          95, 22016));
  to.push_back(with_experts(
      with_dense(with_latents(base("deepseek-v2", "DeepSeek-V2 (236B)", 60, 5120, 102400, 131072,
                                   "github deepseek-ai/DeepSeek-V3 inference/configs/"
                                   "config_236B.json; arXiv 2405.04434"),
                              128, 1536),
                 1, 12288),
      {59, 160, 2, 6, 1536}, "bf16"));
  to.push_back(with_experts(
      with_dense(
          with_latents(base("deepseek-v2-lite", "DeepSeek-V2-Lite (15.7B)", 27, 2048, 102400, 32768,
                            "github deepseek-ai/DeepSeek-V3 inference/configs/"
                            "config_16B.json"),
                       16, 0),
          1, 10944),
      {26, 64, 2, 6, 1408}, "bf16"));
  const auto v3 = [](const char *name, const char *title, uint64_t context, const char *source) {
    return in_fp8(with_experts(
        with_dense(with_latents(base(name, title, 61, 7168, 129280, context, source), 128, 1536), 3,
                   18432),
        {58, 256, 1, 8, 2048}, "fp8"));
  };
  to.push_back(v3("deepseek-v3", "DeepSeek-V3 / R1 (671B)", 131072,
                  "github deepseek-ai/DeepSeek-V3 inference/configs/config_671B.json"));
  to.push_back(
      with_indexer(v3("deepseek-v3.2", "DeepSeek-V3.2 (671B, sparse attention)", 163840,
                      "github deepseek-ai/DeepSeek-V3.2-Exp inference/config_671B_v3.2.json"),
                   64));
}

void add_deepseek_v4(std::vector<model_shape> &to) {
  model_shape flash = in_fp8(with_experts(
      with_entries(base("deepseek-v4-flash", "DeepSeek-V4-Flash (284B)", 43, 4096, 129280, 1048576,
                        "config.json of deepseek-ai/DeepSeek-V4-Flash (compress_ratios), "
                        "transformers deepseek_v4; arXiv 2606.19348"),
                   64, 1024, 8),
      {43, 256, 1, 6, 2048}, "mxfp4"));
  flash.groups = {{2, false, 128}, {21, true, 128, 4, 64, 128, 512}, {20, true, 128, 128}};
  flash.extra_parameters = 529793024;  // indexers, compressors
  to.push_back(flash);
  model_shape pro = in_fp8(with_experts(
      with_entries(base("deepseek-v4-pro", "DeepSeek-V4-Pro (1.6T)", 61, 7168, 129280, 1048576,
                        "config.json of deepseek-ai/DeepSeek-V4-Pro (compress_ratios), "
                        "transformers deepseek_v4; arXiv 2606.19348"),
                   128, 1536, 16),
      {61, 384, 1, 6, 3072}, "mxfp4"));
  pro.groups = {{30, true, 128, 4, 64, 128, 1024}, {31, true, 128, 128}};
  pro.extra_parameters = 1279393792;
  to.push_back(pro);
  model_shape newer = in_fp8(with_experts(
      with_entries(base("deepseek-v4.1-flash", "DeepSeek-V4.1-Flash (552B and a table of 197B)", 40,
                        5120, 129280, 1048576,
                        "headers of the safetensors of deepseek-ai/DeepSeek-V4.1-Flash, 2026-09"),
                   64, 1280, 8),
      {40, 384, 1, 6, 2304}, "mxfp4"));
  // Four layers keep entries for all; every layer has a window of its own. What the others read of
  // those entries is not counted.
  newer.groups = {{3, true, 0, 2, 32, 128, 512}, {1, true, 0, 1, 32, 128, 512}, {40, false, 128}};
  newer.extra_parameters = 415498240;
  newer.table_bytes = 202758032400;
  newer.table_read_bytes = 48 * 264;  // rows a token × bytes of a row
  to.push_back(newer);
}

void add_others(std::vector<model_shape> &to) {
  to.push_back(with_experts(with_heads(base("mixtral-8x7b", "Mixtral-8x7B", 32, 4096, 32000, 32768,
                                            "config.json of mistralai/Mixtral-8x7B-v0.1; "
                                            "arXiv 2401.04088"),
                                       32, 8, 128),
                            {32, 8, 0, 2, 14336}, "bf16"));
  to.push_back(with_dense(with_heads(base("llama-3-70b", "Llama-3.1-70B", 80, 8192, 128256, 131072,
                                          "config.json of meta-llama/Llama-3.1-70B; "
                                          "arXiv 2407.21783"),
                                     64, 8, 128),
                          80, 28672));
  to.push_back(with_experts(with_heads(base("qwen3-30b-a3b", "Qwen3-30B-A3B", 48, 2048, 151936,
                                            40960, "config.json of Qwen/Qwen3-30B-A3B"),
                                       32, 4, 128),
                            {48, 128, 0, 8, 768}, "bf16"));
  to.push_back(with_experts(with_heads(base("qwen3-235b-a22b", "Qwen3-235B-A22B", 94, 4096, 151936,
                                            40960, "config.json of Qwen/Qwen3-235B-A22B"),
                                       64, 4, 128),
                            {94, 128, 0, 8, 1536}, "bf16"));
  to.push_back(in_fp8(
      with_experts(with_dense(with_latents(base("kimi-k2", "Kimi-K2 (1T)", 61, 7168, 163840, 131072,
                                                "config.json of moonshotai/Kimi-K2-Instruct"),
                                           64, 1536),
                              1, 18432),
                   {60, 384, 1, 8, 2048}, "fp8")));
  to.push_back(with_experts(
      with_windows(with_heads(base("gpt-oss-20b", "gpt-oss-20b", 24, 2880, 201088, 131072,
                                   "config.json of openai/gpt-oss-20b; arXiv 2508.10925"),
                              64, 8, 64),
                   128),
      {24, 32, 0, 4, 2880}, "mxfp4"));
  to.push_back(with_experts(
      with_windows(with_heads(base("gpt-oss-120b", "gpt-oss-120b", 36, 2880, 201088, 131072,
                                   "config.json of openai/gpt-oss-120b; arXiv 2508.10925"),
                              64, 8, 64),
                   128),
      {36, 128, 0, 4, 2880}, "mxfp4"));
  to.push_back(with_experts(with_heads(base("olmoe-1b-7b", "OLMoE-1B-7B", 16, 2048, 50304, 4096,
                                            "config.json of allenai/OLMoE-1B-7B-0924"),
                                       16, 16, 128),
                            {16, 64, 0, 8, 1024}, "bf16"));
  to.push_back(
      with_experts(with_dense(with_heads(base("glm-4.5-air", "GLM-4.5-Air (106B)", 46, 4096, 151552,
                                              131072, "config.json of zai-org/GLM-4.5-Air"),
                                         96, 8, 128),
                              1, 10944),
                   {45, 128, 1, 8, 1408}, "bf16"));
}

std::vector<model_shape> all_models() {
  std::vector<model_shape> all;
  add_deepseek(all);
  add_deepseek_v4(all);
  add_others(all);
  return all;
}

}  // namespace

std::string plain_name(std::string name) {
  for (char &letter : name) {
    letter = static_cast<char>(std::tolower(static_cast<unsigned char>(letter)));
    if (letter == '_' || letter == ' ') letter = '-';
  }
  return name;
}

const std::vector<model_shape> &model_presets() {
  static const std::vector<model_shape> all = all_models();
  return all;
}

const model_shape *find_model(const std::string &name) {
  std::string wanted = plain_name(name);
  if (wanted == "deepseek-r1") wanted = "deepseek-v3";
  for (const model_shape &one : model_presets())
    if (one.name == wanted) return &one;
  return nullptr;
}

}  // namespace cubby_cli::plan
