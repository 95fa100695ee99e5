// Large tables of rows of mapped models (token and per-layer embeddings): GET_ROWS over a table
// that is not in memory. The rows are gathered, and the host's own kernel makes floats of them.
#pragma once

#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "expert_store.hpp"
#include "ggml_host.hpp"

namespace cubby_ggml {

struct row_table {
  cubby::runtime *runtime = nullptr;
  cubby::bank bank;
};

/// The tables of this process, by where their tensors lie in memory and how they are cut into rows:
/// a view of a table may begin where the table does.
class row_tables {
 public:
  /// The table of a mapped tensor, adopted when it is asked for first. Nothing where it stays with
  /// llama.cpp, after a line that says why.
  std::optional<row_table> find(const ggml_tensor &weights);
  /// A mapped range is gone.
  void forget(const void *first, uint64_t bytes);

 private:
  using cut = std::tuple<const void *, size_t, int64_t>;  // data, bytes of a row, rows

  static std::optional<row_table> adopt(const ggml_tensor &weights);
  void remove_leaving();

  std::mutex busy_;
  std::map<cut, std::optional<row_table>> known_;
  std::vector<row_table> leaving_;  // their mapping is gone; rows of them were still on their way
};

/// The one of this process; it is never destroyed.
row_tables &tables();

/// GET_ROWS of one list of rows, over a table large enough to be worth it.
bool is_row_lookup(const ggml_tensor &node);

/// Computes it. `rows` is memory that is used again.
ggml_status look_rows_up(const row_table &table, ggml_tensor &node, ggml_backend_t cpu,
                         const ggml_cgraph &graph, std::vector<std::byte> &rows);

}  // namespace cubby_ggml
