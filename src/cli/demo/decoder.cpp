#include "cli/demo/decoder.hpp"

#include <time.h>

#include <cmath>

#include "base/digest.hpp"
#include "cli/demo/kernels.hpp"
#include "cli/model/weights.hpp"
#include "cli/support.hpp"

namespace cubby_cli::demo {
namespace {

/// Of this thread.
uint64_t thread_cpu_ns() {
  timespec used{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return static_cast<uint64_t>(used.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(used.tv_nsec);
}

void normalise(const std::vector<float> &from, std::vector<float> &to) {
  double sum = 0;
  for (const float one : from) sum += static_cast<double>(one) * static_cast<double>(one);
  const double mean = sum / static_cast<double>(from.size());
  const auto scale = static_cast<float>(1 / std::sqrt(mean + 1e-6));
  to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = from[i] * scale;
}

/// One expert: down(silu(gate·x) * (up·x)).
class expert_math {
 public:
  explicit expert_math(const expert_file &file) : file_(file), gate_(file.ffn), up_(file.ffn) {}

  void run(uint32_t layer, const void *const parts[3], const quantised &input, float *out) {
    multiply(file_.at(layer, 0).type, parts[0], file_.ffn, file_.hidden, input, gate_.data());
    multiply(file_.at(layer, 1).type, parts[1], file_.ffn, file_.hidden, input, up_.data());
    for (uint32_t i = 0; i < file_.ffn; ++i) {
      gate_[i] = gate_[i] / (1 + std::exp(-gate_[i])) * up_[i];
    }
    quantise(gate_.data(), file_.ffn, inner_);
    multiply(file_.at(layer, 2).type, parts[2], file_.hidden, file_.ffn, inner_, out);
  }

 private:
  const expert_file &file_;
  std::vector<float> gate_, up_;
  quantised inner_;
};

}  // namespace

outcome<decoded> decode(const expert_file &file, const routes &chosen, expert_source &source,
                        const std::function<void(uint32_t)> &progress) {
  const uint32_t k = chosen.top_k;
  std::vector<float> state(file.hidden, 0.0F), normal;
  std::vector<std::vector<float>> outputs(k, std::vector<float>(file.hidden));
  expert_math math(file);
  quantised input;
  cubby::base::digest_stream digest;
  decoded result;
  const uint64_t start = clock_ns(), cpu_start = thread_cpu_ns();
  for (uint32_t token = 0; token < chosen.tokens; ++token) {
    normalise(state, normal);
    model::random_stream embedding(token, 1);
    for (uint32_t i = 0; i < file.hidden; ++i) state[i] = normal[i] / 2 + embedding.unit() - 0.5F;
    for (uint32_t layer = 0; layer < file.layers; ++layer) {
      const uint16_t *experts = chosen.at(token, layer);
      if (!source.begin(layer, experts, k)) return trouble{source.failure()};
      if (layer + 1 < file.layers) source.forecast(layer + 1, chosen.at(token, layer + 1), k);
      normalise(state, normal);
      quantise(normal.data(), file.hidden, input);
      for (uint32_t landed = 0; landed < k; ++landed) {
        const void *parts[3] = {};
        const int which = source.next(parts);
        if (which < 0) return trouble{source.failure()};
        const uint64_t before = clock_ns(), cpu_before = thread_cpu_ns();
        math.run(layer, parts, input, outputs[static_cast<size_t>(which)].data());
        result.compute_ns += clock_ns() - before;
        result.compute_cpu_ns += thread_cpu_ns() - cpu_before;
        result.computed_bytes += file.locker_bytes(layer);
      }
      source.end();
      for (const auto &output : outputs) {
        for (uint32_t i = 0; i < file.hidden; ++i) state[i] += output[i] / static_cast<float>(k);
      }
    }
    digest.add(state.data(), state.size() * sizeof(float));
    ++result.tokens;
    progress(token + 1);
  }
  result.seconds = static_cast<double>(clock_ns() - start) / 1e9;
  result.cpu_ns = thread_cpu_ns() - cpu_start;
  result.output_digest = hex_text(digest.value());
  return result;
}

}  // namespace cubby_cli::demo
