// Writes a whole model file of a given geometry.
#pragma once

#include <cstdint>
#include <string>

#include "cli/model/geometry.hpp"

namespace cubby_cli::model {

struct made_model {
  uint64_t bytes = 0, expert_bytes = 0, tensor_count = 0;
  double seconds = 0;
};

/// Size of the file that make_model() would write.
uint64_t file_bytes(const geometry &shape);

/// `shape` has passed check(). Shows its progress on a terminal unless `quiet`.
outcome<made_model> make_model(const geometry &shape, const std::string &path, bool quiet);

}  // namespace cubby_cli::model
