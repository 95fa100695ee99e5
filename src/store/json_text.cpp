#include "store/json_text.hpp"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "store/header_reader.hpp"

namespace cubby::store {
namespace {

using nlohmann::json;

constexpr uint64_t json_bytes_max = 1u << 26;  // index.json, config.json

/// Nothing moves, so that what is refused later is refused where it lies.
void blank_non_numbers(std::string &text) {
  bool quoted = false;
  for (size_t at = 0; at < text.size(); at++) {
    if (quoted && text[at] == '\\') {
      at++;
      continue;
    }
    if (text[at] == '"') quoted = !quoted;
    if (quoted) continue;
    for (const std::string_view word : {"-Infinity", "Infinity", "NaN"}) {
      if (text.compare(at, word.size(), word) != 0) continue;
      std::string blank = word.size() < 4 ? "0" : "null";  // NaN has no room for null
      blank.resize(word.size(), ' ');
      text.replace(at, word.size(), blank);
      break;
    }
  }
}

}  // namespace

result<json> parse_object(const std::string &path, uint64_t at, const std::string &text) {
  std::set<std::string> keys;
  std::string twice;
  const auto look = [&](int depth, json::parse_event_t event, json &parsed) {
    const bool key = event == json::parse_event_t::key && depth == 1;
    if (key && !keys.insert(parsed.get<std::string>()).second) twice = parsed.get<std::string>();
    return true;
  };
  try {
    json value = json::parse(text, look);
    if (!value.is_object()) return format_error(path, at, "this is not a JSON object");
    if (twice.empty()) return result<json>(std::move(value));
  } catch (const json::parse_error &failure) {
    // Its own words quote the text, of any length; the place is what helps.
    const uint64_t before = failure.byte > 0 ? failure.byte - 1 : 0;
    return format_error(path, at + std::min<uint64_t>(before, text.size()),
                        "the JSON text ends early or is malformed here");
  }
  const size_t last = text.rfind('"' + twice + '"');  // slow, hence only now
  return format_error(path, at + (last == std::string::npos ? 0 : last), twice + " is there twice");
}

result<json> read_json(const std::string &path) {
  auto reader = header_reader::open(path);
  if (!reader) return reader.failure();
  if (reader->remaining() > json_bytes_max)
    return format_error(path, 0, "it is larger than any index or config", "name the model itself");
  std::string text(reader->remaining(), '\0');
  if (!reader->take(text.data(), text.size(), "the JSON text")) return reader->failure();
  blank_non_numbers(text);
  return parse_object(path, 0, text);
}

std::optional<uint64_t> unsigned_of(const json &value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<uint64_t>();
}

}  // namespace cubby::store
