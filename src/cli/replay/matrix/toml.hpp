// The part of TOML that a matrix is written in: keys with strings, whole numbers, truth values and
// lists of strings. What is not understood is refused by its line.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <variant>
#include <vector>

#include "cli/outcome.hpp"

namespace cubby_cli::replay {

struct toml_value {
  std::variant<std::string, int64_t, bool, std::vector<std::string>> what;
  uint32_t line = 0;
};
using toml_table = std::map<std::string, toml_value>;

/// `path` is for sentences.
outcome<toml_table> read_toml(const std::string &text, const std::string &path);

}  // namespace cubby_cli::replay
