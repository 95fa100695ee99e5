// The library's own readers of model files, in plain types: their results cannot be included beside
// the public ones.
#pragma once

#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace cubby_cli::plan {

/// More than any number of a geometry.
inline constexpr double count_max = 1e9;

/// Lists have an entry a layer.
using fact_map = std::map<std::string, std::vector<double>>;

struct tensor_brief {
  std::string name, type;
  double bytes = 0;
  uint64_t rows = 0;  // its second dimension
};

struct model_header {
  std::string failure;  // a sentence; empty when it was read
  std::vector<tensor_brief> tensors;
  fact_map numbers;  // metadata of a GGUF by its keys
  std::string architecture;
};

model_header read_gguf_header(const std::string &path);
/// `names`: of the files in the folder, in order.
model_header read_safetensors_header(const std::string &folder,
                                     const std::vector<std::string> &names);
/// Gives the sentence of what went wrong; empty when `into` was read.
std::string read_config_json(const std::string &path, nlohmann::json &into);

}  // namespace cubby_cli::plan
