#include "store/safetensors.hpp"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <utility>
#include <vector>

#include "base/checked.hpp"
#include "store/header_reader.hpp"

namespace cubby::store {
namespace {

using nlohmann::json;

constexpr uint64_t header_bytes_max = 100'000'000;  // by the format
constexpr uint64_t json_bytes_max = 1u << 26;       // index.json, config.json

/// Bytes of an element; 0 for types unknown here, whose sizes are taken from their offsets.
uint64_t element_bytes(const std::string &type) {
  static constexpr struct {
    const char *name;
    uint64_t bytes;
  } known[] = {{"F64", 8},     {"I64", 8},  {"U64", 8}, {"F32", 4}, {"I32", 4},     {"U32", 4},
               {"F16", 2},     {"BF16", 2}, {"I16", 2}, {"U16", 2}, {"F8_E4M3", 1}, {"F8_E5M2", 1},
               {"F8_E8M0", 1}, {"I8", 1},   {"U8", 1},  {"BOOL", 1}};
  for (const auto &one : known)
    if (type == one.name) return one.bytes;
  return 0;
}

std::optional<uint64_t> unsigned_of(const json &value) {
  if (!value.is_number_unsigned()) return std::nullopt;
  return value.get<uint64_t>();
}

/// One entry of the header; false where it makes no sense.
bool read_entry(const json &entry, uint64_t data_bytes, tensor_info &tensor) {
  if (!entry.is_object()) return false;
  const auto type = entry.find("dtype"), shape = entry.find("shape");
  const auto offsets = entry.find("data_offsets");
  if (type == entry.end() || shape == entry.end() || offsets == entry.end()) return false;
  if (!type->is_string() || !shape->is_array() || !offsets->is_array() || offsets->size() != 2)
    return false;
  const auto begin = unsigned_of((*offsets)[0]), end = unsigned_of((*offsets)[1]);
  if (!begin || !end || *begin > *end || *end > data_bytes || shape->size() > 16) return false;
  tensor.type = type->get<std::string>();
  tensor.rank = static_cast<uint32_t>(shape->size());
  tensor.offset_bytes = *begin;
  tensor.bytes = *end - *begin;
  const uint64_t element = element_bytes(tensor.type);
  std::optional<uint64_t> bytes = element;
  size_t left = tensor.rank;
  if (tensor.rank <= tensor.shape.size()) tensor.shape.fill(1);
  for (const json &dim : *shape) {
    const auto size = unsigned_of(dim);
    if (!size) return false;
    if (&dim == &shape->front()) tensor.outer = *size;
    // Written with the slowest dimension first.
    if (tensor.rank <= tensor.shape.size()) tensor.shape[--left] = *size;
    bytes = bytes ? base::checked_multiply(*bytes, *size) : std::nullopt;
  }
  return bytes && (element == 0 || *bytes == tensor.bytes);
}

/// An object and nothing else; the same key twice in it is refused, for one of the two would win
/// silently. `at`: where the text begins in the file.
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

/// Adds one file of the model to the list.
result<void> read_file(const std::string &path, tensor_list &list) {
  auto reader = header_reader::open(path);
  if (!reader) return reader.failure();
  const std::string header = reader->text(header_bytes_max, "the header");
  if (reader->failed()) return reader->failure();
  auto entries = parse_object(path, 8, header);
  if (!entries) return entries.failure();
  const uint64_t data_start = reader->position();
  const uint64_t data_bytes = reader->remaining();
  for (const auto &[name, entry] : entries->items()) {
    if (name == "__metadata__") continue;
    tensor_info tensor;
    tensor.name = name;
    tensor.file = static_cast<uint32_t>(list.files.size());
    tensor.record_offset = 8;  // a JSON parser does not say where a value was
    if (!read_entry(entry, data_bytes, tensor)) {
      const size_t found = header.find('"' + name + '"');  // once, on failure: it is slow
      return format_error(path, 8 + (found == std::string::npos ? 0 : found),
                          "tensor " + name + " makes no sense or lies outside the file");
    }
    tensor.offset_bytes += data_start;  // both within the file
    list.tensors.push_back(std::move(tensor));
  }
  auto identity = reader->identify(data_start);
  if (!identity) return identity.failure();
  list.files.push_back(std::move(*identity));
  return {};
}

result<json> read_json(const std::string &path) {
  auto reader = header_reader::open(path);
  if (!reader) return reader.failure();
  if (reader->remaining() > json_bytes_max) return format_error(path, 0, "it is too large");
  std::string text(reader->remaining(), '\0');
  if (!reader->take(text.data(), text.size(), "the JSON text")) return reader->failure();
  return parse_object(path, 0, text);
}

/// Names of the files of an index, in order. A name may not lead out of the model's folder.
result<std::vector<std::string>> shards_of(const std::string &path) {
  auto index = read_json(path);
  if (!index) return index.failure();
  const auto map = index->find("weight_map");
  if (map == index->end() || !map->is_object())
    return format_error(path, 0, "there is no weight_map in this index");
  std::set<std::string> names;
  for (const json &name : *map) {
    const std::string file = name.is_string() ? name.get<std::string>() : "";
    if (file.empty() || file.find('/') != std::string::npos || file.find('\0') != std::string::npos)
      return format_error(path, 0, "weight_map names no file, or one outside the model's folder");
    names.insert(name.get<std::string>());
  }
  return std::vector<std::string>(names.begin(), names.end());
}

/// All of a directory, where there is no index.
result<std::vector<std::string>> files_of(const std::string &path) {
  DIR *directory = opendir(path.c_str());
  if (!directory) return fail_errno(errno, "%s could not be listed", path.c_str());
  std::vector<std::string> names;
  while (const dirent *entry = readdir(directory)) {
    const std::string name = entry->d_name;
    if (name.ends_with(".safetensors")) names.push_back(name);
  }
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

/// Experts per token as the model's config.json has it; 0 and a note where it does not say.
uint32_t routed_count_of(const std::string &folder, std::vector<std::string> &notes) {
  const std::string path = folder + "config.json";
  auto config = read_json(path);
  if (!config) {
    notes.push_back("how many experts a token uses is not known: " + config.failure().text);
    return 0;
  }
  const auto inner = config->find("text_config");
  for (const char *key : {"num_experts_per_tok", "num_experts_per_token", "experts_per_token"})
    for (const json *object : {&*config, inner == config->end() ? &*config : &*inner}) {
      if (!object->is_object() || !object->contains(key)) continue;
      const auto count = unsigned_of((*object)[key]);
      if (count && *count <= UINT32_MAX) return static_cast<uint32_t>(*count);
    }
  notes.push_back(path + " does not say how many experts a token uses");
  return 0;
}

}  // namespace

result<tensor_list> read_safetensors(const std::string &path) try {
  struct stat about = {};
  if (stat(path.c_str(), &about) != 0)
    return fail_errno(errno, "%s could not be examined", path.c_str());
  const bool directory = S_ISDIR(about.st_mode);
  const std::string folder = directory ? path + "/" : path.substr(0, path.rfind('/') + 1);
  std::string index = path.ends_with(".json") ? path : "";
  const std::string usual = folder + "model.safetensors.index.json";
  if (directory && stat(usual.c_str(), &about) == 0) index = usual;
  auto names =
      !index.empty() ? shards_of(index)
      : directory
          ? files_of(path)
          : result<std::vector<std::string>>(std::vector<std::string>{path.substr(folder.size())});
  if (!names) return names.failure();
  if (names->empty())
    return fail(CUBBY_ERR_INVALID, "%s names no safetensors file; name the model", path.c_str());
  tensor_list list;
  list.format = "safetensors";
  list.routed_count = routed_count_of(folder, list.notes);
  for (const std::string &name : *names) {
    auto read = read_file(folder + name, list);
    if (!read) return read.failure();
  }
  return list;
} catch (const json::exception &failure) {
  return format_error(path, 0, failure.what());
}

}  // namespace cubby::store
