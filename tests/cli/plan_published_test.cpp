// What others have published comes out of the plan's formulas and presets, within what they state.
#include <cmath>

#include "cli/plan/answer.hpp"
#include "cli/plan/formulas.hpp"
#include "support/catch.hpp"

namespace plan_published_test {

namespace {
using namespace cubby_cli::plan;

const model_shape &model(const char *name) {
  const model_shape *found = find_model(name);
  REQUIRE(found != nullptr);
  return *found;
}

/// Rounded to so many digits behind the point, as it was printed.
double rounded(double value, int digits) {
  const double scale = std::pow(10, digits);
  return std::round(value * scale) / scale;
}

constexpr double million = 1048576, gibi = 1073741824.0;

}  // namespace

TEST_CASE("Standard attention keeps 488 GB for some 120,000 words") {
  // The geometry of DeepSeek-V3 with keys and values for each of 128 heads, bf16, and 128k tokens.
  // 488 are GiB.
  const model_shape standard = with_standard_attention(model("deepseek-v3"));
  CHECK(rounded(kv_bytes(standard, kv_format::bf16, 131072) / gibi, 0) == 488);
}

TEST_CASE("MLA keeps 93.3 % less than DeepSeek-67B") {
  // arXiv 2405.04434, section 3.2.3: 6 bits an element as deployed, against bf16.
  const double before = kv_bytes_per_token(model("deepseek-67b"), kv_format::bf16);
  const double now = kv_bytes_per_token(model("deepseek-v2"), kv_format::bits6);
  CHECK(rounded(100 * (1 - now / before), 1) == 93.3);
}

TEST_CASE("V4-Pro keeps 10 % of V3.2's KV and takes 27 % of its operations at a million tokens") {
  // arXiv 2606.19348. Operations of all number formats count alike here.
  const model_shape &pro = model("deepseek-v4-pro"), &before = model("deepseek-v3.2");
  const double held =
      kv_bytes(pro, kv_format::fp8, million) / kv_bytes(before, kv_format::fp8, million);
  CHECK(rounded(100 * held, 0) == 10);
  CHECK(std::abs(100 * decode_flops(pro, million) / decode_flops(before, million) - 27) <= 1);
}

TEST_CASE("V4-Flash keeps 7 % of V3.2's KV at a million tokens") {
  const double held = kv_bytes(model("deepseek-v4-flash"), kv_format::fp8, million) /
                      kv_bytes(model("deepseek-v3.2"), kv_format::fp8, million);
  CHECK(rounded(100 * held, 0) == 7);
}

TEST_CASE("Mixtral has 46.7 billion parameters and uses 12.9 of them") {
  // The paper counts the input's embeddings among those used.
  const model_shape &mixtral = model("mixtral-8x7b");
  CHECK(rounded(total_parameters(mixtral) / 1e9, 1) == 46.7);
  CHECK(rounded((active_parameters(mixtral) + embedding_parameters(mixtral)) / 1e9, 1) == 12.9);
}

TEST_CASE("V4-Pro has 1.6 trillion parameters and uses 49 billion, V4-Flash 284 and 13") {
  CHECK(rounded(total_parameters(model("deepseek-v4-pro")) / 1e12, 1) == 1.6);
  CHECK(rounded(active_parameters(model("deepseek-v4-pro")) / 1e9, 0) == 49);
  CHECK(rounded(total_parameters(model("deepseek-v4-flash")) / 1e9, 0) == 284);
  CHECK(rounded(active_parameters(model("deepseek-v4-flash")) / 1e9, 0) == 13);
}

TEST_CASE("Other models have the parameters that their makers state") {
  const auto [name, total, active] =
      GENERATE(table<const char *, double, double>({{"deepseek-v2", 236, 21},
                                                    {"deepseek-v3", 671, 37},
                                                    {"qwen3-235b-a22b", 235, 22},
                                                    {"gpt-oss-120b", 117, 5.1},
                                                    {"llama-3-70b", 70.6, 70.6},
                                                    {"kimi-k2", 1026, 32}}));
  INFO(name);
  CHECK(std::abs(total_parameters(model(name)) / 1e9 / total - 1) < 0.02);
  CHECK(std::abs(active_parameters(model(name)) / 1e9 / active - 1) < 0.03);
}

TEST_CASE("Memory is $2 M of a Vera Rubin rack of $7.8 M") {
  const machine_preset *rack = find_machine("vr-nvl72");
  REQUIRE(rack != nullptr);
  const auto *memory = rack->what.find("host:0");
  REQUIRE((memory != nullptr && memory->price_usd_per_byte && memory->capacity_bytes));
  const double usd = *memory->price_usd_per_byte * *memory->capacity_bytes;
  CHECK(rounded(usd / 1e6, 1) == 2.0);
  CHECK(rounded(*rack->what.price_usd / 1e6, 1) == 7.8);
  // With the GPUs' own price, which has HBM in it, the bill is not exceeded.
  CHECK(usd + *rack->what.compute->price_usd < *rack->what.price_usd);
}

TEST_CASE("Ten million cached tokens cost $0.036 at DeepSeek and about $5 elsewhere") {
  const input_price *cheap = find_input_price("deepseek-v4-pro");
  const input_price *other = find_input_price("gpt-5.5");
  REQUIRE((cheap != nullptr && other != nullptr));
  CHECK(rounded(input_usd(10e6, 1, cheap->hit_usd, cheap->miss_usd), 3) == 0.036);
  CHECK(rounded(input_usd(10e6, 1, other->hit_usd, other->miss_usd), 0) == 5);
  CHECK(input_usd(10e6, 0.5, 1, 3) == 20);
}

namespace {

/// The experiment of arXiv 2508.06978 (its code, figure_4_and_5.py): bf16 weights, a context of
/// 1,024 tokens, the same GPUs of 127 W at rest with all in HBM or the routed experts on SSD behind
/// NVLink 5 (900 GB/s a GPU). Groups of GPUs each read the dense weights for sequences of their
/// own.
struct offload_study {
  const char *name;
  double gpus, groups;
};

double joules_per_token(const offload_study &of, double batch, bool on_ssd) {
  constexpr double link_bytes_per_s = 900e9, context = 1024;
  constexpr double hbm = 4.2 * 8e-12, ssd = 102.4 * 8e-12;
  const auto &gpu = *find_machine("h100")->what.compute;
  model_shape bf16 = model(of.name);
  bf16.expert_weight_bytes = bf16.dense_weight_bytes = 2;
  const double experts = bf16.moe_layers *
                         distinct_experts(bf16.routed_experts, bf16.top_k, batch) *
                         expert_bytes_each(bf16);
  const double others = std::min(batch, of.groups) * dense_bytes(bf16) +
                        batch * kv_read_bytes(bf16, kv_format::bf16, context);
  step_energy sums;
  sums.local_bytes = experts + others;
  sums.local_joules_per_byte = hbm;
  sums.flops = batch * decode_flops(bf16, context);
  sums.background_watt = 127 * of.gpus;
  sums.step_s = product_s(sums.local_bytes, of.gpus * gpu.product_bytes_per_s, sums.flops,
                          of.gpus * *gpu.flop_per_s);
  if (on_ssd) {
    sums.moved_joules = move_joules(experts, ssd, hbm);
    sums.step_s += stall_s(sums.step_s, move_s(experts, of.gpus * link_bytes_per_s, 0, 0), 0, 0);
  }
  return joules(sums) / batch;
}

}  // namespace

TEST_CASE("Experts on SSD cost 3.8 to 12.5 times the joules a token of HBM") {
  const auto study =
      GENERATE(offload_study{"mixtral-8x7b", 4, 1}, offload_study{"deepseek-v3", 32, 4});
  const double batch = GENERATE(4.0, 16.0, 64.0, 256.0, 1024.0);
  const double ratio = joules_per_token(study, batch, true) / joules_per_token(study, batch, false);
  INFO(study.name << " at " << batch << ": " << ratio);
  CHECK(ratio >= 3.8);
  CHECK(ratio <= 12.5);
}

TEST_CASE("Experts on SSD do not pay for energy in a plan either") {
  question asked;
  asked.model = model("deepseek-v3");
  const machine_preset *machine = find_machine("h100");
  REQUIRE(machine != nullptr);
  asked.machine = machine->what;
  asked.machine_name = "h100";
  asked.background_watt = machine->background_watt;
  asked.usd_per_hour = machine->usd_per_hour;
  asked.context = {1024, origin::given, ""};
  asked.users = asked.sessions = {4, origin::given, ""};
  asked.output_tokens = {500, origin::given, ""};
  asked.years = {4, origin::assumed, ""};
  asked.usd_per_kwh = {0.1, origin::assumed, ""};
  asked.curve = recorded_hits();
  const auto found = answer_to(asked);
  REQUIRE(found);
  REQUIRE(found->offload.step.moved_bytes.size() == 3);
  CHECK(found->offload.step.moved_bytes[2] > 0);  // from the drive
  bool said = false;
  for (const verdict &one : found->verdicts)
    if (one.respect == "energy") said = one.which == verdict::kind::does_not_pay;
  CHECK(said);
  REQUIRE(found->resident);
  CHECK(*found->offload.energy.joules > 3.8 * *found->resident->energy.joules);
}

}  // namespace plan_published_test
