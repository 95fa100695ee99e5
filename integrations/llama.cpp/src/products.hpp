// MUL_MAT_ID over experts that lie anywhere in memory: a product an expert, made by the host's own
// kernels. All rows that are routed to an expert stay in one product and in their order, because
// kernels for many rows and for few need not round alike.
#pragma once

#include <span>
#include <vector>

#include "ggml_host.hpp"

namespace cubby_ggml {

/// One use of an expert: slot `slot` of token `token`.
struct routed_row {
  int64_t slot, token;
};

/// The uses of each expert in a batch.
class routing {
 public:
  /// Reads the ids (I32 [slots, tokens], any strides). False when one is not below `expert_count`.
  bool read(const ggml_tensor &ids, uint32_t expert_count);
  /// Those that are used, ascending.
  const std::vector<uint64_t> &experts() const { return experts_; }
  std::span<const routed_row> rows_of(uint64_t expert) const;
  bool operator==(const routing &other) const { return ids_ == other.ids_; }
  int64_t token_count() const { return tokens_; }

 private:
  std::vector<int32_t> ids_;  // slots of token 0, of token 1 …
  int64_t tokens_ = 0;
  std::vector<uint64_t> experts_;
  std::vector<size_t> first_;  // by expert: its rows begin there, one more at the end
  std::vector<routed_row> rows_;
};

class product_batch {
 public:
  /// The product of `node` with one expert, whose weights are at `weights`.
  void add(ggml_tensor &node, std::span<const routed_row> rows, const void *weights);
  bool empty() const { return products_.empty(); }
  /// Forgets what was added and not computed.
  void clear() { products_.clear(); }
  /// Computes what was added, writes the nodes' rows, and is empty again.
  ggml_status compute(ggml_backend_t cpu, const ggml_cgraph &graph);

 private:
  struct product {
    ggml_tensor *node;
    std::span<const routed_row> rows;
    const void *weights;
    size_t gathered = 0, results = 0;  // where its rows are in floats_
  };
  struct tensors {
    ggml_tensor weights, input, ids, output;
  };

  size_t take_floats(int64_t count);
  void lay_out();
  void gather(const product &one);
  void scatter(const product &one) const;
  void describe(const product &one, tensors &out);

  std::vector<product> products_;
  std::vector<tensors> tensors_;
  std::vector<ggml_tensor *> nodes_;
  std::vector<float> floats_;
  size_t floats_used_ = 0;
  std::vector<int32_t> zeroes_;  // ids: there is one expert in each product
};

}  // namespace cubby_ggml
