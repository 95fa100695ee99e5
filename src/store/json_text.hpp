// JSON that a model comes with: headers, index.json, config.json.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "base/result.hpp"

namespace cubby::store {

/// An object and nothing else; the same key twice in it is refused, for one of the two would win
/// silently. `at`: where the text begins in the file.
result<nlohmann::json> parse_object(const std::string &path, uint64_t at, const std::string &text);

/// A whole file. Infinity and NaN, which Python writes and JSON does not have, are no error.
result<nlohmann::json> read_json(const std::string &path);

std::optional<uint64_t> unsigned_of(const nlohmann::json &value);

}  // namespace cubby::store
