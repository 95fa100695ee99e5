#include "cli/demo/decoder.hpp"

#include <cubby/cubby.hpp>

#include <cuda/kernels/work.cuh>

#include <cmath>

#include "base/digest.hpp"
#include "cli/demo/kernels.hpp"
#include "cli/model/weights.hpp"
#include "cli/support.hpp"

namespace cubby_cli::demo {
namespace {

void normalise(const std::vector<float> &from, std::vector<float> &to) {
  double sum = 0;
  for (const float one : from) sum += static_cast<double>(one) * static_cast<double>(one);
  const double mean = sum / static_cast<double>(from.size());
  const auto scale = static_cast<float>(1 / std::sqrt(mean + 1e-6));
  to.resize(from.size());
  for (size_t i = 0; i < from.size(); ++i) to[i] = from[i] * scale;
}

/// A vector to multiply with, in one of the two forms.
struct operand {
  quantised small;
  std::vector<float> plain;
};

void multiply_plain(model::weight_type type, const void *weights, uint32_t rows, uint32_t columns,
                    const std::vector<float> &with, float *out) {
  const uint64_t row_bytes = model::bytes_of(type, columns);
  const auto *row = static_cast<const uint8_t *>(weights);
  for (uint32_t r = 0; r < rows; ++r, row += row_bytes) {
    out[r] = cubby_kernels::row_product(static_cast<uint32_t>(type), row, columns, with.data());
  }
}

/// One expert: down(silu(gate·x) * (up·x)).
class expert_math {
 public:
  expert_math(const expert_file &file, products by)
      : file_(file), by_(by), gate_(file.ffn), up_(file.ffn) {}

  void prepare(const std::vector<float> &from, operand &to) const {
    if (by_ == products::plain) {
      to.plain = from;
    } else {
      quantise(from.data(), static_cast<uint32_t>(from.size()), to.small);
    }
  }
  void run(uint32_t layer, const void *const parts[3], const operand &input, float *out) {
    product(layer, 0, parts, input, gate_.data());
    product(layer, 1, parts, input, up_.data());
    gate_by_silu(gate_, up_);
    prepare(gate_, inner_);
    product(layer, 2, parts, inner_, out);
  }

 private:
  void product(uint32_t layer, uint32_t part, const void *const parts[3], const operand &with,
               float *out) const {
    const uint32_t rows = part == 2 ? file_.hidden : file_.ffn;
    const uint32_t columns = part == 2 ? file_.ffn : file_.hidden;
    const model::weight_type type = file_.at(layer, part).type;
    if (by_ == products::plain) {
      multiply_plain(type, parts[part], rows, columns, with.plain, out);
    } else {
      multiply(type, parts[part], rows, columns, with.small, out);
    }
  }

  const expert_file &file_;
  const products by_;
  std::vector<float> gate_, up_;
  operand inner_;
};

}  // namespace

void embed(uint32_t token, std::span<float> to) {
  model::random_stream random(token, 1);
  for (float &one : to) one = random.unit() - 0.5F;
}

outcome<decoded> decode(const expert_file &file, const routes &chosen, expert_source &source,
                        const std::function<void(uint32_t)> &progress, const decode_choice &how) {
  const uint32_t k = chosen.top_k;
  std::vector<float> state(file.hidden, 0.0F), normal, embedding(file.hidden);
  std::vector<std::vector<float>> outputs(k, std::vector<float>(file.hidden));
  expert_math math(file, how.by);
  operand input;
  lookahead ahead(chosen, file.experts, how.ahead);
  cubby::base::digest_stream digest;
  decoded result;
  const uint64_t start = clock_ns(), cpu_start = thread_cpu_ns();
  for (uint32_t token = 0; token < chosen.tokens; ++token) {
    normalise(state, normal);
    embed(token, embedding);
    for (uint32_t i = 0; i < file.hidden; ++i) state[i] = normal[i] / 2 + embedding[i];
    for (uint32_t layer = 0; layer < file.layers; ++layer) {
      const uint16_t *experts = chosen.at(token, layer);
      if (!source.begin(layer, experts, k)) return trouble{source.failure()};
      ahead.ask(source, token, layer);
      normalise(state, normal);
      math.prepare(normal, input);
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
    if (how.by == products::plain) {
      result.states.insert(result.states.end(), state.begin(), state.end());
    }
    ++result.tokens;
    progress(token + 1);
  }
  result.seconds = static_cast<double>(clock_ns() - start) / 1e9;
  result.cpu_ns = thread_cpu_ns() - cpu_start;
  result.output_digest = hex_text(digest.value());
  return result;
}

}  // namespace cubby_cli::demo
