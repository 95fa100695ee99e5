// What `cubby plan --kv-trace` found, for people and as JSON.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/plan/read/kv_recorded.hpp"

namespace cubby_cli::plan {

nlohmann::json json_of(const kv_question &asked, const kv_times &found);
void print_kv(const kv_question &asked, const kv_times &found);

}  // namespace cubby_cli::plan
