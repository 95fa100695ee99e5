#include "store/safetensors.hpp"

#include <algorithm>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/checked.hpp"
#include "store/file_kind.hpp"
#include "store/header_reader.hpp"
#include "store/json_text.hpp"
#include "store/model_config.hpp"

namespace cubby::store {
namespace {

using nlohmann::json;

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

/// Which files a model has and, where an index says so, which tensor lies in which of them.
struct shard_set {
  struct place {
    std::string file;
    bool seen = false;
  };
  std::string index;
  std::vector<std::string> names;  // of files, in order
  std::unordered_map<std::string, place> owners;
  uint64_t unlisted_count = 0;
  std::string unlisted;  // the first of them
};

/// Is the tensor of this file the model's? Shards may be used by several models, and an overlay
/// leaves the former tensor where it was.
bool is_listed(shard_set &set, const std::string &file, const std::string &tensor) {
  if (set.index.empty()) return true;
  const auto owner = set.owners.find(tensor);
  if (owner == set.owners.end()) {
    if (set.unlisted_count++ == 0) set.unlisted = tensor;
    return false;
  }
  if (owner->second.file != file) return false;
  owner->second.seen = true;
  return true;
}

/// Adds one file of the model to the list.
result<void> read_file(const std::string &folder, const std::string &file, shard_set &set,
                       tensor_list &list) {
  const std::string path = folder + file;
  auto reader = header_reader::open(path);
  if (!reader) return reader.failure();
  if (auto kind = kind_of(*reader); !kind) return kind.failure();
  const std::string header = reader->text(safetensors_header_bytes_max, "the header");
  if (reader->failed()) return reader->failure();
  auto entries = parse_object(path, 8, header);
  if (!entries) return entries.failure();
  const uint64_t data_start = reader->position();
  const uint64_t data_bytes = reader->remaining();
  for (const auto &[name, entry] : entries->items()) {
    if (name == "__metadata__" || !is_listed(set, file, name)) continue;
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

/// A path below the model's folder in its shortest form; nothing where it leads out of it.
std::optional<std::string> path_inside(const std::string &path) {
  std::string inside;
  if (path.starts_with('/') || path.find('\0') != std::string::npos) return std::nullopt;
  for (size_t at = 0; at <= path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    const std::string part = path.substr(at, end - at);
    at = end + 1;
    if (part == "..") return std::nullopt;
    if (part.empty() || part == ".") continue;
    inside += (inside.empty() ? "" : "/") + part;
  }
  if (inside.empty()) return std::nullopt;
  return inside;
}

result<shard_set> read_index(const std::string &path) {
  auto index = read_json(path);
  if (!index) return index.failure();
  const auto map = index->find("weight_map");
  if (map == index->end() || !map->is_object())
    return format_error(path, 0, "there is no weight_map in it, so it is no index of a model",
                        "name the model's folder or one of its files");
  shard_set set;
  set.index = path;
  std::set<std::string> names;
  for (const auto &[tensor, name] : map->items()) {
    const auto file = name.is_string() ? path_inside(name.get<std::string>()) : std::nullopt;
    if (!file)
      return format_error(
          path, 0,
          "its weight_map has for tensor " + tensor + " no file, or one outside the model's folder",
          "an index names files beside it and below: mend it, or download it again");
    names.insert(*file);
    set.owners[tensor].file = *file;
  }
  set.names.assign(names.begin(), names.end());
  return set;
}

/// "model-00001-of-00002.safetensors" taken apart; the digits are as many as there are.
struct shard_name {
  std::string stem, number_form, count_digits;
  uint32_t count = 0;
};

std::optional<shard_name> read_shard_name(const std::string &name) {
  constexpr std::string_view extension = ".safetensors", of = "-of-";
  const auto is_number = [](const std::string &text) {
    return !text.empty() && text.size() <= 6 &&
           text.find_first_not_of("0123456789") == std::string::npos;
  };
  if (!name.ends_with(extension)) return std::nullopt;
  const std::string base = name.substr(0, name.size() - extension.size());
  const size_t middle = base.rfind(of);
  if (middle == std::string::npos) return std::nullopt;
  const size_t dash = base.rfind('-', middle - 1);
  if (middle == 0 || dash == std::string::npos) return std::nullopt;
  const std::string number = base.substr(dash + 1, middle - dash - 1);
  shard_name shard{base.substr(0, dash), number, base.substr(middle + of.size()), 0};
  if (!is_number(number) || !is_number(shard.count_digits)) return std::nullopt;
  shard.count = static_cast<uint32_t>(std::stoul(shard.count_digits));
  if (shard.count == 0) return std::nullopt;
  return shard;
}

/// Of one file: the set that it belongs to by the index beside it or by its name, or itself alone.
shard_set set_of_file(const std::string &folder, const std::string &name) {
  const auto shard = read_shard_name(name);
  std::vector<std::string> candidates = {"model.safetensors.index.json"};
  if (shard) candidates.insert(candidates.begin(), shard->stem + ".safetensors.index.json");
  for (const std::string &candidate : candidates) {
    auto set = read_index(folder + candidate);
    if (set && std::binary_search(set->names.begin(), set->names.end(), name))
      return std::move(*set);
  }
  shard_set set;
  for (uint32_t i = 1; shard && i <= shard->count; i++) {
    std::string number = std::to_string(i);
    if (number.size() < shard->number_form.size())
      number.insert(0, shard->number_form.size() - number.size(), '0');
    set.names.push_back(shard->stem + "-" + number + "-of-" + shard->count_digits + ".safetensors");
  }
  if (!shard) set.names = {name};
  return set;
}

/// Of a folder: what its index lists, else the whole model, else all.
result<shard_set> set_of_folder(const std::string &folder, const std::vector<std::string> &files,
                                std::vector<std::string> &notices) {
  constexpr char usual[] = "model.safetensors.index.json", whole[] = "model.safetensors";
  std::vector<std::string> indexes;
  shard_set set;
  for (const std::string &name : files) {
    if (name == usual) return read_index(folder + usual);
    if (name.find(".safetensors.index") != std::string::npos && name.ends_with(".json"))
      indexes.push_back(name);
    if (name.ends_with(".safetensors")) set.names.push_back(name);
  }
  if (indexes.size() == 1) return read_index(folder + indexes.front());
  if (set.names.size() > 1 && std::binary_search(set.names.begin(), set.names.end(), whole)) {
    notices.push_back("left out: " + std::to_string(set.names.size() - 1) +
                      " safetensors files beside " + whole + " of " + folder);
    set.names = {whole};
  }
  return set;
}

/// What the index lists must be there; what it does not list is left out.
result<void> check_listed(const shard_set &set, tensor_list &list) {
  const std::pair<const std::string, shard_set::place> *missing = nullptr;
  for (const auto &one : set.owners)
    if (!one.second.seen && (!missing || one.first < missing->first)) missing = &one;
  if (missing)
    return format_error(set.index, 0,
                        "it lists tensor " + missing->first + " in " + missing->second.file +
                            ", which does not have it",
                        "the index and its files are not of one download: download them again");
  if (set.unlisted_count > 0)
    list.notices.push_back("left out: " + std::to_string(set.unlisted_count) +
                           " tensors that the index does not list (" + set.unlisted + " …)");
  return {};
}

}  // namespace

result<tensor_list> read_safetensors(const std::string &path,
                                     const std::vector<std::string> *files) try {
  const std::string folder = files ? path + "/" : path.substr(0, path.rfind('/') + 1);
  tensor_list list;
  list.format = "safetensors";
  auto set = files                     ? set_of_folder(folder, *files, list.notices)
             : path.ends_with(".json") ? read_index(path)
                                       : set_of_file(folder, path.substr(folder.size()));
  if (!set) return set.failure();
  if (set->names.empty())
    return fail(CUBBY_ERR_INVALID, "%s names no safetensors file; name the model", path.c_str());
  const model_config config = read_config(folder, list.notes);
  list.routed_count = config.routed_count;
  list.expert_count = config.expert_count;
  for (const std::string &name : set->names) {
    auto read = read_file(folder, name, *set, list);
    if (!read) return read.failure();
  }
  if (auto checked = check_listed(*set, list); !checked) return checked.failure();
  return list;
} catch (const json::exception &failure) {
  return format_error(path, 0, failure.what());
}

}  // namespace cubby::store
