// Rows of a table, looked up through the library, in a mapping of the file, and by pread.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/bench/reader.hpp"

namespace cubby_cli::bench {

struct rows_plan {
  std::string path;  // of noise, which is taken for a table
  uint64_t file_bytes = 0;
  uint32_t row_bytes = 512, page_bytes = 16 << 10;
  uint32_t count = 48, prompt_count = 4096;  // rows looked up at once: of a token, of a prompt
  uint32_t rounds = 200;
  uint32_t pump = 0;           // CUBBY_PUMP_*
  double budget_share = 0.03;  // of the table that the library may keep
};

/// Wrong bytes are trouble, a missed goal is not.
outcome<nlohmann::json> row_lookups(const rows_plan &plan, progress_line &line);
/// For people.
void print_row_lookups(const nlohmann::json &report);

}  // namespace cubby_cli::bench
