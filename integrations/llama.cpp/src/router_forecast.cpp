#include "router_forecast.hpp"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "file_view.hpp"

namespace cubby_ggml {
namespace {

/// In lanes of their own, for the compiler may not change the order of a sum.
float product(const float *a, const float *b, size_t count) {
  constexpr size_t lanes = 16;
  float sums[lanes] = {};
  size_t i = 0;
  for (; i + lanes <= count; i += lanes)
    for (size_t lane = 0; lane < lanes; ++lane) sums[lane] += a[i + lane] * b[i + lane];
  float all = std::accumulate(sums, sums + lanes, 0.0F);
  for (; i < count; ++i) all += a[i] * b[i];
  return all;
}

/// What a model's file says of its tensors, and where they are mapped.
class mapped_floats {
 public:
  explicit mapped_floats(const std::string &path)
      : file_(host().open_gguf(path)), ranges_(mapped_ranges(path)) {}

  /// A tensor of F32; empty where there is none, or it is not mapped.
  std::span<const float> find(const std::string &name) const {
    if (!file_) return {};
    const auto found = host().find_in(*file_, name);
    if (!found || found->type != GGML_TYPE_F32) return {};
    for (const mapped_range &range : ranges_) {
      if (found->offset_bytes < range.offset_bytes) continue;
      const uint64_t behind = found->offset_bytes - range.offset_bytes;
      if (behind + found->bytes > range.bytes) continue;
      return {reinterpret_cast<const float *>(range.first + behind), found->bytes / sizeof(float)};
    }
    return {};
  }

 private:
  ggml_host::gguf_file file_;
  std::vector<mapped_range> ranges_;
};

}  // namespace

router_forecast::router_forecast(std::span<const std::string> files,
                                 std::span<const std::string> block_of_row, uint32_t experts)
    : experts_(experts), routers_(block_of_row.size()) {
  for (const std::string &file : files) look_into(file, block_of_row);
}

void router_forecast::look_into(const std::string &file,
                                std::span<const std::string> block_of_row) {
  const mapped_floats tensors(file);
  for (size_t row = 0; row < block_of_row.size(); ++row) {
    const std::string &block = block_of_row[row];
    const auto weights = tensors.find(block + "ffn_gate_inp.weight");
    if (weights.empty()) continue;
    router &found = routers_[row];
    found.weights = weights;
    found.bias = tensors.find(block + "ffn_gate_inp.bias");
    found.choice_bias = tensors.find(block + "exp_probs_b.bias");
    found.norm = tensors.find(block + "ffn_norm.weight");
    if (found.norm.empty()) found.norm = tensors.find(block + "post_attention_norm.weight");
  }
}

bool router_forecast::fits(const router &here, const router &next, uint64_t width) const {
  const auto is_one_of = [](std::span<const float> tensor, uint64_t count) {
    return tensor.empty() || tensor.size() == count;
  };
  return next.weights.size() == width * experts_ && here.norm.size() == width &&
         next.norm.size() == width && is_one_of(next.bias, experts_) &&
         is_one_of(next.choice_bias, experts_);
}

void router_forecast::after(uint32_t row, const ggml_tensor &input, uint32_t top_k,
                            workspace &work) const {
  work.chosen.clear();
  const auto width = static_cast<uint64_t>(input.ne[0]);
  if (row + 1 >= routers_.size() || input.ne[1] != 1 || top_k > experts_) return;
  const router &here = routers_[row], &next = routers_[row + 1];
  if (!fits(here, next, width)) return;
  work.state.resize(width);
  const int64_t tokens = input.ne[2], looked_at = std::min(tokens, tokens_max);
  for (int64_t i = 0; i < looked_at; ++i) {
    const auto token = static_cast<size_t>(i * tokens / looked_at);
    const auto *from = reinterpret_cast<const float *>(static_cast<const char *>(input.data) +
                                                       token * input.nb[2]);
    for (size_t d = 0; d < width; ++d)
      work.state[d] = here.norm[d] == 0 ? 0 : from[d] / here.norm[d] * next.norm[d];
    score(next, work);
    choose(top_k, work);
  }
  std::sort(work.chosen.begin(), work.chosen.end());
  // Of those that several tokens use the best rank is the first.
  const auto same = [](const expected &a, const expected &b) { return a.expert == b.expert; };
  work.chosen.erase(std::unique(work.chosen.begin(), work.chosen.end(), same), work.chosen.end());
}

void router_forecast::score(const router &next, workspace &work) const {
  const size_t width = work.state.size();
  work.scores.resize(experts_);
  for (uint32_t expert = 0; expert < experts_; ++expert) {
    float &score = work.scores[expert];
    score = product(next.weights.data() + expert * width, work.state.data(), width);
    if (!next.bias.empty()) score += next.bias[expert];
    if (!next.choice_bias.empty()) score = 1 / (1 + std::exp(-score)) + next.choice_bias[expert];
    if (std::isnan(score)) score = -HUGE_VALF;  // it compares with nothing, and an order has to
  }
}

void router_forecast::choose(uint32_t top_k, workspace &work) {
  work.order.resize(work.scores.size());
  std::iota(work.order.begin(), work.order.end(), uint16_t{0});
  std::partial_sort(work.order.begin(), work.order.begin() + top_k, work.order.end(),
                    [&](uint16_t a, uint16_t b) { return work.scores[a] > work.scores[b]; });
  for (uint32_t rank = 0; rank < top_k; ++rank)
    work.chosen.push_back({work.order[rank], static_cast<uint16_t>(rank)});
}

}  // namespace cubby_ggml
