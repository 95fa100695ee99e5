// What `cubby store` says to people, from the objects that --json prints.
#pragma once

#include <nlohmann/json.hpp>

namespace cubby_cli {

void show_store_info(const nlohmann::json &info);
void show_store_check(const nlohmann::json &check);
void show_store_trim(const nlohmann::json &trim);

}  // namespace cubby_cli
