#include "cli/demo/device_layers.hpp"

#include "cli/demo/decoder.hpp"

namespace cubby_cli::demo {

device_layers::device_layers(device_here &on, const expert_file &file, const routes &chosen)
    : on_(on), file_(file), top_k_(chosen.top_k), tokens_(chosen.tokens) {
  const uint64_t hidden_bytes = file.hidden * sizeof(float), ffn_bytes = file.ffn * sizeof(float);
  embeddings_ = on.take(tokens_ * hidden_bytes);
  states_ = on.take(tokens_ * hidden_bytes);
  normal_ = on.take(hidden_bytes);
  gate_ = on.take(top_k_ * ffn_bytes);
  up_ = on.take(top_k_ * ffn_bytes);
  outputs_ = on.take(top_k_ * hidden_bytes);
  std::vector<float> embeddings(uint64_t{tokens_} * file.hidden);
  for (uint32_t token = 0; token < tokens_; ++token) {
    embed(token, std::span(embeddings).subspan(uint64_t{token} * file.hidden, file.hidden));
  }
  on.copy_in(embeddings_, embeddings.data(), embeddings.size() * sizeof(float));
  on.finish();
}

void device_layers::begin(uint32_t token) {
  // The first has a state of zeroes before it.
  cubby_kernels::state_work work{};
  work.from = token == 0 ? state(0) : normal_;
  work.embedding = embeddings_ + uint64_t{token} * file_.hidden * sizeof(float);
  work.to = state(token);
  work.normal = normal_;
  work.width = file_.hidden;
  if (token == 0) {
    on_.good(on_.driver().fill(work.from, 0, file_.hidden * sizeof(float), on_.stream()),
             "cuMemsetD8Async");
  }
  on_.good(on_.kernels().next_state(work, on_.stream()), "a kernel");
}

void device_layers::run(uint32_t token, uint32_t layer, const found_experts &experts) {
  multiply(layer, 0, experts, normal_, gate_);
  multiply(layer, 1, experts, normal_, up_);
  on_.good(on_.kernels().gate({gate_, up_, gate_, top_k_ * file_.ffn, 0}, on_.stream()),
           "a kernel");
  multiply(layer, 2, experts, gate_, outputs_);
  cubby_kernels::state_work work{};
  work.from = work.to = state(token);
  work.outputs = outputs_;
  work.normal = normal_;
  work.width = file_.hidden;
  work.count = top_k_;
  on_.good(on_.kernels().next_state(work, on_.stream()), "a kernel");
}

void device_layers::multiply(uint32_t layer, uint32_t part, const found_experts &experts,
                             uint64_t input, uint64_t output) {
  cubby_kernels::gemv_work work{};
  work.slots = experts.slots;
  work.words = experts.words;
  work.outcome = experts.outcome;
  work.input = input;
  work.output = output;
  work.row = layer;
  work.part = part;
  work.count = top_k_;
  work.type = static_cast<uint32_t>(file_.at(layer, part).type);
  work.rows = part == 2 ? file_.hidden : file_.ffn;
  work.columns = part == 2 ? file_.ffn : file_.hidden;
  work.input_stride = part == 2 ? file_.ffn : 0;
  on_.good(on_.kernels().gemv(work, on_.stream()), "a kernel");
}

std::vector<float> device_layers::states() {
  std::vector<float> all(uint64_t{tokens_} * file_.hidden);
  on_.copy_out(all.data(), states_, all.size() * sizeof(float));
  return all;
}

}  // namespace cubby_cli::demo
