#include "cli/plan/presets/presets.hpp"

namespace cubby_cli::plan {

const std::vector<latency_class> &latency_classes() {
  static const char *const mlperf =
      "MLPerf Inference rules, p99 of DeepSeek-R1 (mlcommons/inference_policies)";
  static const std::vector<latency_class> all = {
      {"batch", 3600, 10, false, origin::assumed, "an answer within the hour, no reader waits"},
      {"chat", 2, 0.08, true, origin::preset, std::string(mlperf) + ", server"},
      {"interactive", 1.5, 0.015, true, origin::preset, std::string(mlperf) + ", interactive"},
      {"translation", 0.3, 0.05, true, origin::assumed,
       "live speech: a pause of 0.3 s is noticed, 20 tokens/s are spoken"},
      {"video", 1.0 / 30, 1.0 / 30, true, origin::assumed, "one frame of 30 a second"},
      {"robotics", 0.01, 0.01, true, origin::assumed, "one turn of a control loop of 100 Hz"}};
  return all;
}

const latency_class *find_latency_class(const std::string &name) {
  const std::string wanted = plain_name(name);
  for (const latency_class &one : latency_classes())
    if (one.name == wanted) return &one;
  return nullptr;
}

const hit_curve &recorded_hits() {
  // Mean of two recordings of 8,000 tokens: gpt-oss-20b, decoding (AmanPriyanshu/
  // GPT-OSS-MoE-ExpertFingerprinting), and DeepSeek-V2-Lite (deepseek-ai/ESFT, intent). Shorter
  // recordings of larger models are all first uses, and left out.
  static const hit_curve mean = {
      {{0.05, 0.294},
       {0.1, 0.463},
       {0.2, 0.646},
       {0.3, 0.753},
       {0.4, 0.829},
       {0.5, 0.884},
       {0.6, 0.924},
       {0.7, 0.954},
       {0.8, 0.976},
       {0.9, 0.991}},
      origin::measured,
      "cubby replay --simulate --policy moe --batch 1, mean of recorded routing of gpt-oss-20b and "
      "DeepSeek-V2-Lite, 2026-11-29; --trace takes your own"};
  return mean;
}

const std::vector<input_price> &input_prices() {
  static const std::vector<input_price> all = {
      {"deepseek-v4-pro", 0.003625, 0.435, "DeepSeek's price list, 2026-04-30"},
      {"deepseek-v4-flash", 0.0028, 0.14, "DeepSeek's price list, 2026-04-30"},
      {"gpt-5.5", 0.50, 5.00, "OpenAI's price list, 2026-05-25"},
      {"claude-opus-4.7", 0.50, 5.00, "Anthropic's price list, 2026-05-25"}};
  return all;
}

const input_price *find_input_price(const std::string &name) {
  const std::string wanted = plain_name(name);
  for (const input_price &one : input_prices())
    if (one.name == wanted) return &one;
  return nullptr;
}

}  // namespace cubby_cli::plan
