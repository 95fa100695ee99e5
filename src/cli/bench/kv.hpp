// Puts and gets of KV blocks, in memory and on disk, beside what the machine gives to a loop that
// does nothing else.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/bench/reader.hpp"

namespace cubby_cli::bench {

struct kv_plan {
  std::string directory;                     // everything in it may be replaced
  uint64_t set_bytes = uint64_t{512} << 20;  // 8 times what the host tier holds
  uint32_t rounds = 7;
  uint32_t pump = 0;  // CUBBY_PUMP_*
  std::vector<uint32_t> match_keys = {10'000, 1'000'000};
  uint32_t latency_gets = 500;
};

/// Each appends its rows. Wrong bytes are trouble, a missed goal is not.
done kv_memory_row(const kv_plan &plan, nlohmann::json &rows, progress_line &line);
done kv_get_rows(const kv_plan &plan, nlohmann::json &rows, progress_line &line);
done kv_put_rows(const kv_plan &plan, nlohmann::json &rows, progress_line &line);
done kv_match_rows(const kv_plan &plan, nlohmann::json &rows, progress_line &line);
done kv_latency_row(const kv_plan &plan, nlohmann::json &rows, progress_line &line);

/// For people.
void print_kv_rows(const nlohmann::json &rows);

}  // namespace cubby_cli::bench
