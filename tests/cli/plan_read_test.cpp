// Geometry from model files: GGUF, config.json and safetensors, and what is refused of them.
#include <cmath>

#include "cli/plan/attention.hpp"
#include "cli/plan/presets/presets.hpp"
#include "cli/plan/read/model_facts.hpp"
#include "unit/store/scratch.hpp"

#include "support/catch.hpp"

namespace plan_read_test {

namespace {
using namespace cubby_cli::plan;
using nlohmann::json;

/// Two layers of 8 experts, Q8_0, with everything that a plan needs to know.
scratch::gguf small_gguf(const std::string &architecture) {
  scratch::gguf file;
  file.string("general.architecture", architecture);
  const auto number = [&](const char *key, uint32_t value) {
    file.pair(architecture + '.' + key, value);
  };
  number("block_count", 2);
  number("embedding_length", 64);
  number("context_length", 4096);
  number("attention.head_count", 4);
  number("attention.head_count_kv", 2);
  number("attention.key_length", 16);
  number("expert_count", 8);
  number("expert_used_count", 2);
  number("expert_feed_forward_length", 32);
  file.strings("tokenizer.ggml.tokens", {"a", "b"});
  file.floats("token_embd.weight", {64, 100}).floats("output.weight", {64, 100});
  for (const char *layer : {"0", "1"})
    for (const char *part : {"gate", "up", "down"})
      file.tensor(std::string("blk.") + layer + ".ffn_" + part + "_exps.weight", 8, {32, 64, 8},
                  uint64_t{64} * 34 * 8);
  return file;
}

model_shape read(const std::string &path, const fact_map &given = {}) {
  auto found = read_model(path, given);
  if (!found) FAIL(found.failure().text);
  return std::move(*found);
}

std::string refusal(const std::string &path, const fact_map &given = {}) {
  const auto found = read_model(path, given);
  if (found) return "read";
  CHECK(found.failure().exit_status == cubby_cli::exit_usage);
  return found.failure().text;
}

bool mentions(const std::string &text, const std::string &part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

/// As published with DeepSeek-V3.
json v3_config() {
  return {{"model_type", "deepseek_v3"},
          {"num_hidden_layers", 61},
          {"hidden_size", 7168},
          {"vocab_size", 129280},
          {"num_attention_heads", 128},
          {"num_key_value_heads", 128},
          {"qk_nope_head_dim", 128},
          {"qk_rope_head_dim", 64},
          {"v_head_dim", 128},
          {"kv_lora_rank", 512},
          {"q_lora_rank", 1536},
          {"n_routed_experts", 256},
          {"num_experts_per_tok", 8},
          {"n_shared_experts", 1},
          {"moe_intermediate_size", 2048},
          {"intermediate_size", 18432},
          {"first_k_dense_replace", 3},
          {"max_position_embeddings", 163840},
          {"tie_word_embeddings", false},
          {"quantization_config", {{"quant_method", "fp8"}}}};
}

std::string write_config(const scratch::folder &in, const json &config) {
  return in.write("config.json", config.dump());
}

}  // namespace

TEST_CASE("A GGUF tells its geometry and its bytes") {
  const scratch::folder here;
  const model_shape found = read(here.write("m.gguf", small_gguf("qwen3moe").bytes()));
  CHECK(found.from == origin::file);
  CHECK(found.layers == 2);
  CHECK(found.hidden == 64);
  CHECK(found.vocab == 100);
  CHECK(found.q_heads == 4);
  CHECK(found.kv_heads == 2);
  CHECK(found.head_dim == 16);
  CHECK(found.routed_experts == 8);
  CHECK(found.top_k == 2);
  CHECK(found.moe_intermediate == 32);
  CHECK(found.context_max == 4096);
  CHECK_FALSE(found.tied_embeddings);
  CHECK(found.expert_type == "q8_0");
  CHECK(routed_bytes(found) == 6.0 * 64 * 34 * 8);
  CHECK(dense_bytes(found) == 2.0 * 64 * 100 * 4);
  CHECK(found.input_embedding_bytes == 64.0 * 100 * 4);
  CHECK(kv_bytes_per_token(found, kv_format::bf16) == 2 * 2 * (16 + 16) * 2);
}

TEST_CASE("Numbers of a GGUF that no model has are refused by their key") {
  const scratch::folder here;
  scratch::gguf file = small_gguf("qwen3moe");
  file.pair("qwen3moe.feed_forward_length", 0xFFFFFFFF);
  CHECK(mentions(refusal(here.write("m.gguf", file.bytes())),
                 "qwen3moe.feed_forward_length is 4.295e+09"));
  CHECK(mentions(refusal("by-hand", {{"layers", {2}},
                                     {"hidden", {64}},
                                     {"heads", {4}},
                                     {"vocab", {10}},
                                     {"experts", {1e9}},
                                     {"top-k", {2}},
                                     {"expert-size", {8}}}),
                 "1000000000 experts in a layer"));
  CHECK(mentions(refusal("by-hand", {{"layers", {1e9}},
                                     {"hidden", {1e9}},
                                     {"heads", {4}},
                                     {"vocab", {10}},
                                     {"dense-size", {8}}}),
                 "which no machine holds"));
}

TEST_CASE("A GGUF with latents is taken apart") {
  const scratch::folder here;
  scratch::gguf file = small_gguf("deepseek2");
  file.pair("deepseek2.attention.kv_lora_rank", 512);
  file.pair("deepseek2.rope.dimension_count", 64);
  file.pair("deepseek2.attention.key_length_mla", 192);
  file.pair("deepseek2.attention.value_length_mla", 128);
  const model_shape found = read(here.write("m.gguf", file.bytes()));
  CHECK(found.kind == attention::latent);
  CHECK(found.head_dim == 128);
  CHECK(found.value_dim == 128);
  CHECK(kv_bytes_per_token(found, kv_format::bf16) == 2 * (512 + 64) * 2);
}

TEST_CASE("Half the layers of gpt-oss have windows") {
  const scratch::folder here;
  scratch::gguf file = small_gguf("gpt-oss");
  file.pair("gpt-oss.attention.sliding_window", 128);
  const model_shape found = read(here.write("m.gguf", file.bytes()));
  CHECK(kv_bytes_per_token(found, kv_format::bf16) == 1 * 2 * (16 + 16) * 2);
  CHECK(kv_bytes(found, kv_format::bf16, 1000) == (1000 + 128) * 128);
}

TEST_CASE("An architecture that is not known is named, and can be given by hand") {
  const scratch::folder here;
  const std::string path = here.write("m.gguf", small_gguf("mamba9").bytes());
  const std::string text = refusal(path);
  CHECK(mentions(text, "\"mamba9\""));
  CHECK(mentions(text, "--geometry layers=N,hidden=N,heads=N,kv-heads=N,head-dim=N"));
  const model_shape found = read(
      path,
      {{"layers", {2}}, {"hidden", {64}}, {"heads", {4}}, {"kv-heads", {1}}, {"head-dim", {8}}});
  CHECK(kv_bytes_per_token(found, kv_format::bf16) == 2 * (8 + 8) * 2);
  CHECK(routed_bytes(found) == 6.0 * 64 * 34 * 8);
}

TEST_CASE("A config.json has the parameters of the preset") {
  const scratch::folder here;
  const model_shape found = read(write_config(here, v3_config()));
  const model_shape *preset = find_model("deepseek-v3");
  CHECK(total_parameters(found) == total_parameters(*preset));
  CHECK(active_parameters(found) == active_parameters(*preset));
  CHECK(kv_bytes(found, kv_format::fp8, 5000) == kv_bytes(*preset, kv_format::fp8, 5000));
  CHECK(routed_bytes(found) == routed_bytes(*preset));
  CHECK(read(here.path(".")).layers == 61);  // the folder, without any weights
}

TEST_CASE("Compressed layers of a config.json keep what the preset's keep") {
  json config = {{"model_type", "deepseek_v4"},
                 {"num_hidden_layers", 43},
                 {"hidden_size", 4096},
                 {"vocab_size", 129280},
                 {"num_attention_heads", 64},
                 {"num_key_value_heads", 1},
                 {"head_dim", 512},
                 {"qk_rope_head_dim", 64},
                 {"q_lora_rank", 1024},
                 {"o_groups", 8},
                 {"o_lora_rank", 1024},
                 {"n_routed_experts", 256},
                 {"num_experts_per_tok", 6},
                 {"n_shared_experts", 1},
                 {"moe_intermediate_size", 2048},
                 {"index_n_heads", 64},
                 {"index_head_dim", 128},
                 {"index_topk", 512},
                 {"sliding_window", 128},
                 {"max_position_embeddings", 1048576}};
  config["compress_ratios"] = {0, 0};
  for (int i = 2; i < 43; i++) config["compress_ratios"].push_back(i % 2 == 0 ? 4 : 128);
  const scratch::folder here;
  const model_shape found = read(write_config(here, config));
  const model_shape *preset = find_model("deepseek-v4-flash");
  for (const double context : {100.0, 131072.0})
    CHECK(kv_bytes(found, kv_format::fp8, context) == kv_bytes(*preset, kv_format::fp8, context));
  CHECK(decode_flops(found, 1e6) < decode_flops(*preset, 1e6));  // but for its indexers' weights
}

TEST_CASE("Safetensors beside a config.json tell the bytes") {
  const scratch::folder here;
  write_config(here, v3_config());
  const std::string header =
      R"({"model.layers.3.mlp.experts.0.up_proj.weight":{"dtype":"F8_E4M3","shape":[4,8],)"
      R"("data_offsets":[0,32]},"lm_head.weight":{"dtype":"BF16","shape":[2,4],)"
      R"("data_offsets":[32,48]}})";
  here.write("model.safetensors",
             scratch::little(header.size(), 8) + header + std::string(48, 'x'));
  const model_shape found = read(here.path("."));
  CHECK(routed_bytes(found) == 32);
  CHECK(dense_bytes(found) == 16);
  CHECK(found.expert_type == "fp8");
}

TEST_CASE("What is missing or cannot be is said with its remedy") {
  const scratch::folder here;
  CHECK(mentions(refusal("no-such-model"), "deepseek-v3"));
  CHECK(mentions(refusal(here.path(".")), "neither a config.json nor a GGUF"));
  CHECK(mentions(refusal(here.write("broken.gguf", "GGUF")), "broken.gguf"));
  CHECK(mentions(refusal(here.write("config.json", "{\"a\": [1,")), "malformed"));
  json config = v3_config();
  config.erase("num_hidden_layers");
  CHECK(mentions(refusal(write_config(here, config)), "--geometry layers=N"));
  config = v3_config();
  config["num_experts_per_tok"] = 300;
  CHECK(mentions(refusal(write_config(here, config)), "300 of 256"));
  config = v3_config();
  config["model_type"] = "brand_new";
  CHECK(mentions(refusal(write_config(here, config)), "\"brand_new\""));
  config["vocab_size"] = -5;
  config["hidden_size"] = "wide";
  config["kv_lora_rank"] = json::array({json::object()});
  config["model_type"] = "deepseek_v3";
  CHECK(mentions(refusal(write_config(here, config)), "hidden=N,vocab=N"));
  CHECK(mentions(refusal("mixtral-8x7b", {{"layers", {3}}}), "by-hand"));
}

TEST_CASE("Geometry by hand is whole numbers by name") {
  const auto good = read_geometry({"layers=2", "kv-heads=8"});
  REQUIRE(good);
  CHECK(good->at("layers") == std::vector<double>{2});
  for (const char *bad :
       {"layers", "depth=3", "layers=", "layers=two", "layers=-1", "layers=1.5", "layers=1e30"}) {
    const auto refused = read_geometry({bad});
    INFO(bad);
    REQUIRE_FALSE(refused);
    CHECK(refused.failure().exit_status == cubby_cli::exit_usage);
    CHECK(mentions(refused.failure().text, bad));
  }
  const model_shape made = read(
      "by-hand",
      {{"layers", {2}}, {"hidden", {64}}, {"heads", {4}}, {"vocab", {10}}, {"dense-size", {128}}});
  CHECK(made.from == origin::given);
  CHECK(made.kv_heads == 4);
  CHECK(made.dense_layers == 2);
  CHECK(total_parameters(made) == 2 * (4.0 * 64 * 64 + 3 * 64 * 128) + 2 * 10 * 64);
}

}  // namespace plan_read_test
