// What a model's files, or a person, say of its geometry, under one set of names: those of
// --geometry.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "cli/outcome.hpp"
#include "cli/plan/read/header.hpp"
#include "cli/plan/shape.hpp"

namespace cubby_cli::plan {

struct model_facts {
  std::string architecture;  // as the file calls it; empty where a person says it all
  std::string path;
  fact_map numbers;
  std::vector<std::string> layer_kinds;  // "sliding_attention", "full_attention"
  std::string expert_type, dense_type;
  double expert_bytes = 0, dense_bytes = 0, table_bytes = 0;  // of all tensors, where there are any
  double input_embedding_bytes = 0;                           // of the dense ones
  bool has_tensors = false;
};

/// The names that --geometry takes, with what they mean.
struct fact_name {
  const char *name, *meaning;
};
const std::vector<fact_name> &fact_names();

/// "layers=32,heads=32": numbers only. Trouble names the word.
outcome<fact_map> read_geometry(const std::vector<std::string> &words);

/// Facts of a file, and over them those that a person gave. An architecture that is not known here
/// is refused unless its geometry is given.
outcome<model_shape> shape_of(const model_facts &of, const fact_map &given);

/// Of a GGUF; of a folder with config.json (and safetensors, where there are any), or of the
/// config.json itself.
outcome<model_facts> read_gguf_facts(const std::string &path);
outcome<model_facts> read_config_facts(const std::string &path);

/// A preset's name, or a path. `given` overrides single facts of either.
outcome<model_shape> read_model(const std::string &name, const fact_map &given);

}  // namespace cubby_cli::plan
