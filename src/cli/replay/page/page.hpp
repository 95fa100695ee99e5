// What a replay found as one page that needs nothing but itself.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace cubby_cli::replay {

/// `report` is the object that --json prints, with "details".
std::string page_of(const nlohmann::json &report);

/// JSON that ends no script and needs no escapes of XML.
std::string embedded(const nlohmann::json &report);

/// The page with {{title}}, {{body}} and {{data}} in it.
extern const char *const page_template;

}  // namespace cubby_cli::replay
