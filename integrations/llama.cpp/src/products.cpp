#include "products.hpp"

#include <algorithm>
#include <cstring>

namespace cubby_ggml {
namespace {

/// Where the input row of a use lies. The input has one row a token, or one a slot.
const char *input_row(const ggml_tensor &node, const routed_row &row) {
  const ggml_tensor &input = *node.src[1];
  return static_cast<const char *>(input.data) +
         static_cast<size_t>(row.slot % input.ne[1]) * input.nb[1] +
         static_cast<size_t>(row.token) * input.nb[2];
}

char *output_row(const ggml_tensor &node, const routed_row &row) {
  return static_cast<char *>(node.data) + static_cast<size_t>(row.slot) * node.nb[1] +
         static_cast<size_t>(row.token) * node.nb[2];
}

/// Gives a tensor the shape [width, 1, count] without gaps.
void set_rows(ggml_tensor &tensor, int64_t width, int64_t count, size_t element_bytes) {
  const int64_t extents[4] = {width, 1, count, 1};
  size_t stride = element_bytes;
  for (int i = 0; i < 4; ++i) {
    tensor.ne[i] = extents[i];
    tensor.nb[i] = stride;
    stride *= static_cast<size_t>(extents[i]);
  }
}

}  // namespace

bool routing::read(const ggml_tensor &ids, uint32_t expert_count) {
  const int64_t slots = ids.ne[0];
  tokens_ = ids.ne[1];
  ids_.clear();
  first_.assign(expert_count + 1, 0);
  for (int64_t token = 0; token < tokens_; ++token) {
    for (int64_t slot = 0; slot < slots; ++slot) {
      int32_t id = 0;
      std::memcpy(&id,
                  static_cast<const char *>(ids.data) + static_cast<size_t>(token) * ids.nb[1] +
                      static_cast<size_t>(slot) * ids.nb[0],
                  sizeof id);
      if (id < 0 || static_cast<uint32_t>(id) >= expert_count) return false;
      ids_.push_back(id);
      ++first_[static_cast<size_t>(id) + 1];
    }
  }
  experts_.clear();
  for (uint32_t expert = 0; expert < expert_count; ++expert) {
    if (first_[expert + 1] != 0) experts_.push_back(expert);
    first_[expert + 1] += first_[expert];
  }
  rows_.resize(ids_.size());
  std::vector<size_t> next(first_.begin(), first_.end() - 1);
  for (size_t i = 0; i < ids_.size(); ++i)
    rows_[next[static_cast<size_t>(ids_[i])]++] = {static_cast<int64_t>(i) % slots,
                                                   static_cast<int64_t>(i) / slots};
  return true;
}

std::span<const routed_row> routing::rows_of(uint64_t expert) const {
  return std::span(rows_).subspan(first_[expert], first_[expert + 1] - first_[expert]);
}

void product_batch::add(ggml_tensor &node, std::span<const routed_row> rows, const void *weights) {
  products_.push_back({&node, rows, weights});
}

size_t product_batch::take_floats(int64_t count) {
  constexpr size_t line = 16;  // a cache line of floats
  const size_t first = floats_used_;
  floats_used_ += (static_cast<size_t>(count) + line - 1) / line * line;
  return first;
}

/// A single row is read and written where it lies; several are gathered, for they lie apart. The
/// products of one input, gate and up, follow each other for each expert and share its rows.
void product_batch::lay_out() {
  floats_used_ = 0;
  size_t most_rows = 1;
  for (product &one : products_) {
    if (one.rows.size() == 1) continue;
    const auto count = static_cast<int64_t>(one.rows.size());
    most_rows = std::max(most_rows, one.rows.size());
    one.gathered = take_floats(one.node->src[1]->ne[0] * count);
    one.results = take_floats(one.node->ne[0] * count);
  }
  if (floats_.size() < floats_used_) floats_.resize(floats_used_);
  if (zeroes_.size() < most_rows) zeroes_.resize(most_rows);
}

void product_batch::gather(const product &one) {
  const auto width = static_cast<size_t>(one.node->src[1]->ne[0]);
  float *to = floats_.data() + one.gathered;
  for (const routed_row &row : one.rows) {
    std::memcpy(to, input_row(*one.node, row), width * sizeof(float));
    to += width;
  }
}

void product_batch::scatter(const product &one) const {
  const auto width = static_cast<size_t>(one.node->ne[0]);
  const float *from = floats_.data() + one.results;
  for (const routed_row &row : one.rows) {
    std::memcpy(output_row(*one.node, row), from, width * sizeof(float));
    from += width;
  }
}

void product_batch::describe(const product &one, tensors &out) {
  const bool single = one.rows.size() == 1;
  const auto count = static_cast<int64_t>(one.rows.size());
  out.weights = *one.node->src[0];
  out.weights.data = const_cast<void *>(one.weights);
  out.weights.ne[2] = 1;
  out.weights.nb[3] = out.weights.nb[2];

  out.input = *one.node->src[1];
  out.input.view_src = nullptr;
  set_rows(out.input, out.input.ne[0], count, sizeof(float));
  out.input.data = single ? const_cast<char *>(input_row(*one.node, one.rows[0]))
                          : reinterpret_cast<char *>(floats_.data() + one.gathered);

  out.ids = *one.node->src[2];
  out.ids.view_src = nullptr;
  const int64_t extents[4] = {1, count, 1, 1};
  std::copy(extents, extents + 4, out.ids.ne);
  out.ids.nb[0] = out.ids.nb[1] = sizeof(int32_t);
  out.ids.nb[2] = out.ids.nb[3] = sizeof(int32_t) * one.rows.size();
  out.ids.data = zeroes_.data();

  out.output = *one.node;
  out.output.view_src = nullptr;
  set_rows(out.output, out.output.ne[0], count, sizeof(float));
  out.output.data = single ? output_row(*one.node, one.rows[0])
                           : reinterpret_cast<char *>(floats_.data() + one.results);
  out.output.src[0] = &out.weights;
  out.output.src[1] = &out.input;
  out.output.src[2] = &out.ids;
}

ggml_status product_batch::compute(ggml_backend_t cpu, const ggml_cgraph &graph) {
  lay_out();
  if (tensors_.size() < products_.size()) tensors_.resize(products_.size());
  nodes_.clear();
  for (size_t i = 0; i < products_.size(); ++i) {
    if (products_[i].rows.size() > 1) gather(products_[i]);
    describe(products_[i], tensors_[i]);
    nodes_.push_back(&tensors_[i].output);
  }
  ggml_cgraph part = graph;
  part.nodes = nodes_.data();
  part.n_nodes = static_cast<int>(nodes_.size());
  part.n_leafs = 0;
  part.uid = 0;
  const ggml_status status = cpu->iface.graph_compute(cpu, &part);
  if (status == GGML_STATUS_SUCCESS)
    for (const product &one : products_)
      if (one.rows.size() > 1) scatter(one);
  products_.clear();
  return status;
}

}  // namespace cubby_ggml
