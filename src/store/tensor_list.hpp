// What the readers of both formats hand over: the tensors of a set of files. The banks are made
// from them in one place.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "store/model_file.hpp"

namespace cubby::store {

/// One tensor; its bytes are known to lie inside its file.
struct tensor_info {
  std::string name;
  std::string type;
  uint32_t type_number = 0;  // ggml's; GGUF only
  uint32_t file = 0;
  uint32_t rank = 0;
  uint64_t outer = 0;               // slowest dimension: the experts, where they are stacked
  std::array<uint64_t, 4> shape{};  // fastest dimension first, 1 past the rank; 0 = not known
  uint64_t offset_bytes = 0;        // from the start of the file
  uint64_t bytes = 0;
  uint64_t record_offset = 0;  // where the header describes it, for messages
  std::string trouble;         // why its bytes are not known; it may still not be wanted
};

struct tensor_list {
  std::string format;
  std::vector<model_part_file> files;
  std::vector<tensor_info> tensors;
  std::string kind;  // what the file calls itself where it is not a model: "imatrix" …
  uint32_t routed_count = 0;
  uint32_t expert_count = 0;       // experts in a layer, where config.json says so
  std::vector<std::string> notes;  // as in model_file; about the experts
  std::vector<std::string> notices;
};

/// The experts, or the tensors whose names match the glob.
result<model_file> make_banks(tensor_list list, const std::string &pattern);

/// The one tensor whose name matches, as pages of rows.
result<model_file> make_table(tensor_list list, const std::string &pattern, uint64_t page_bytes);

}  // namespace cubby::store
