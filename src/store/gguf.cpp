#include "store/gguf.hpp"

#include <algorithm>
#include <cctype>
#include <cstring>
#include <optional>
#include <utility>
#include <vector>

#include "base/checked.hpp"
#include "store/file_kind.hpp"
#include "store/gguf_types.hpp"
#include "store/header_reader.hpp"

namespace cubby::store {
namespace {

constexpr uint64_t key_bytes_max = 65535;  // by the format
constexpr uint64_t name_bytes_max = 1024;  // ggml allows 64; sets of other makers are a bit longer
constexpr uint64_t alignment_max = 1u << 24;
constexpr uint64_t pair_bytes_min = 8 + 4 + 1;
constexpr uint64_t tensor_bytes_min = 8 + 4 + 8 + 4 + 8;
constexpr uint64_t type_string = 8, type_array = 9;

constexpr uint32_t array_depth_max = 8;
constexpr char newer_remedy[] =
    "a newer cubby may know it; where other programs refuse the file too, download it again";

/// The few values of the header that matter here.
struct gguf_header {
  uint64_t alignment = 32;
  uint64_t split_count = 0;
  uint64_t split_number = 0;
  uint64_t routed_count = 0;
  uint64_t data_start = 0;
  std::string kind;
};

/// Bytes of a value of fixed size; 0 for strings, arrays and unknown types.
uint32_t value_bytes(uint64_t type) {
  static constexpr uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < sizeof bytes ? bytes[type] : 0;
}

void refuse_value_type(header_reader &reader, uint64_t at, const std::string &key, uint64_t type) {
  reader.refuse_unknown(
      at, "metadata " + key + " is of type " + std::to_string(type) + ", known here are 0 to 12",
      newer_remedy);
}

void skip_array(header_reader &reader, const std::string &key, uint32_t depth) {
  const uint64_t at = reader.position();
  const uint64_t type = reader.number(4, "an array's type");
  if (type == type_string || type == type_array) {
    const uint64_t count = reader.count(type == type_string ? 8 : 12, "an array's length");
    if (depth == array_depth_max)
      return reader.refuse_unknown(at, "metadata " + key + " is an array of arrays too deep",
                                   newer_remedy);
    for (uint64_t i = 0; i < count && !reader.failed(); i++) {
      if (type == type_array)
        skip_array(reader, key, depth + 1);
      else
        reader.skip(reader.count(1, "a string's length"), "a string");
    }
    return;
  }
  const uint32_t bytes = value_bytes(type);
  if (bytes == 0) return refuse_value_type(reader, at, key, type);
  reader.skip(reader.count(bytes, "an array's length") * bytes, "an array");
}

void read_pair(header_reader &reader, gguf_header &header) {
  const std::string key = reader.text(key_bytes_max, "a metadata key");
  const uint64_t at = reader.position();
  const uint64_t type = reader.number(4, "a metadata type");
  if (reader.failed()) return;
  if (type == type_array) return skip_array(reader, key, 1);
  if (type == type_string && key == "general.type") {
    header.kind = reader.text(key_bytes_max, "a metadata string");
    return;
  }
  if (type == type_string)
    return reader.skip(reader.count(1, "a string's length"), "a metadata string");
  const uint32_t bytes = value_bytes(type);
  if (bytes == 0) return refuse_value_type(reader, at, key, type);
  const uint64_t value = reader.number(bytes, "a metadata value");
  if (key == "general.alignment") header.alignment = value;
  if (key == "split.count") header.split_count = value;
  if (key == "split.no") header.split_number = value;
  if (key.ends_with(".expert_used_count")) header.routed_count = value;
  const bool aligned = header.alignment > 0 && header.alignment <= alignment_max &&
                       (header.alignment & (header.alignment - 1)) == 0;
  if (!aligned) reader.refuse(at, "the alignment is no plausible power of two");
}

std::string type_words(const tensor_info &tensor) {
  return tensor.type + " (ggml type " + std::to_string(tensor.type_number) + ")";
}

/// Bytes of a tensor, or nothing where the product wraps.
std::optional<uint64_t> tensor_bytes(const gguf_type &type, const uint64_t (&dims)[4]) {
  auto bytes = base::checked_multiply(dims[0] / type.block_elements, type.block_bytes);
  if (bytes) bytes = base::checked_add(*bytes, type.row_bytes);
  // Zeros would hide a wrap-around in the other factors, hence none are taken.
  for (uint32_t i = 1; i < 4 && bytes; i++) bytes = base::checked_multiply(*bytes, dims[i]);
  for (const uint64_t dim : dims)
    if (dim == 0) return std::nullopt;
  return bytes;
}

/// What a tensor's type number says about its size.
void size_tensor(header_reader &reader, uint64_t number, const uint64_t (&dims)[4],
                 tensor_info &tensor) {
  const gguf_type *type = find_gguf_type(number);
  tensor.type_number = static_cast<uint32_t>(number);
  if (!type) {
    tensor.type = "ggml type " + std::to_string(number);
    tensor.trouble = "is of " + tensor.type + ", which is not known here";
    return;
  }
  tensor.type = type->name;
  if (dims[0] % type->block_elements != 0) {
    tensor.trouble = "has rows of " + std::to_string(dims[0]) + " elements, no multiple of the " +
                     std::to_string(type->block_elements) + " in a block of " + type_words(tensor);
    return;
  }
  if (const auto bytes = tensor_bytes(*type, dims))
    tensor.bytes = *bytes;
  else
    reader.refuse(tensor.record_offset, "tensor " + tensor.name + " has impossible dimensions");
}

tensor_info read_tensor(header_reader &reader, uint32_t file) {
  tensor_info tensor;
  tensor.file = file;
  tensor.record_offset = reader.position();
  tensor.name = reader.text(name_bytes_max, "a tensor's name");
  const uint64_t rank = reader.number(4, "a tensor's rank");
  if (reader.failed()) return tensor;
  if (rank < 1 || rank > 4) {
    reader.refuse(tensor.record_offset, "tensor " + tensor.name + " has no plausible rank");
    return tensor;
  }
  uint64_t dims[4] = {1, 1, 1, 1};
  for (uint64_t i = 0; i < rank; i++) dims[i] = reader.number(8, "a tensor's dimensions");
  const uint64_t type = reader.number(4, "a tensor's type");
  tensor.offset_bytes = reader.number(8, "a tensor's offset");
  if (reader.failed()) return tensor;
  tensor.rank = static_cast<uint32_t>(rank);
  tensor.outer = dims[rank - 1];
  std::copy_n(dims, 4, tensor.shape.begin());
  size_tensor(reader, type, dims, tensor);
  return tensor;
}

/// From offsets in the data section to offsets in the file; each tensor must lie inside.
void place_tensor(header_reader &reader, const gguf_header &header, uint64_t file_bytes,
                  tensor_info &tensor) {
  const auto start = base::checked_add(header.data_start, tensor.offset_bytes);
  const auto end = start ? base::checked_add(*start, tensor.bytes) : std::nullopt;
  if (!end || *end > file_bytes)
    reader.refuse(tensor.record_offset, "tensor " + tensor.name + " does not lie inside the file");
  else if (tensor.offset_bytes % header.alignment != 0)
    reader.refuse(tensor.record_offset, "tensor " + tensor.name + " is not aligned");
  else
    tensor.offset_bytes = *start;
}

/// Tensors follow each other without gaps. Where one spans other than its type needs, the number
/// means another type to the program that wrote the file, and experts would be cut in wrong places.
void check_spans(const gguf_header &header, uint64_t file_bytes, uint64_t first,
                 tensor_list &list) {
  std::vector<tensor_info *> order;
  for (uint64_t i = first; i < list.tensors.size(); i++) order.push_back(&list.tensors[i]);
  std::sort(order.begin(), order.end(), [](const tensor_info *a, const tensor_info *b) {
    return a->offset_bytes < b->offset_bytes;
  });
  for (size_t i = 0; i < order.size(); i++) {
    tensor_info &tensor = *order[i];
    if (!tensor.trouble.empty()) continue;
    const bool last = i + 1 == order.size();
    const uint64_t next = last ? file_bytes : order[i + 1]->offset_bytes;
    const uint64_t span = next - tensor.offset_bytes;
    if (span < tensor.bytes || span - tensor.bytes < header.alignment) continue;
    if (last) {
      // Loaders leave it there.
      list.notices.push_back(std::to_string(span - tensor.bytes) + " bytes follow the last tensor" +
                             " of " + list.files.back().path);
      continue;
    }
    tensor.trouble = "spans " + std::to_string(span) + " bytes up to the next tensor, where " +
                     type_words(tensor) + " needs " + std::to_string(tensor.bytes);
  }
}

void read_magic(header_reader &reader) {
  char magic[4] = {};
  reader.take(magic, sizeof magic, "the magic number");
  if (!reader.failed() && memcmp(magic, "GGUF", 4) != 0)
    reader.refuse(0, "this is not a GGUF file");
  const uint64_t version = reader.number(4, "the version");
  if (reader.failed() || version == 2 || version == 3) return;
  // 3 with its bytes the other way round is a file for big-endian machines.
  if (version == 0x03000000)
    return reader.refuse_unknown(4, "the file is big-endian", "convert it for this machine");
  reader.refuse_unknown(4, "GGUF version " + std::to_string(version) + ", known here are 2 and 3",
                        version < 2 ? "convert the model again" : "a newer cubby may know it");
}

/// Adds one file of the set to the list.
result<gguf_header> read_file(const std::string &path, tensor_list &list) {
  auto opened = header_reader::open(path);
  if (!opened) return opened.failure();
  header_reader &reader = *opened;
  if (auto kind = kind_of(reader); !kind) return kind.failure();
  const uint64_t file_bytes = reader.remaining();
  const uint64_t first = list.tensors.size();
  gguf_header header;
  read_magic(reader);
  const uint64_t tensors = reader.count(tensor_bytes_min, "the number of tensors");
  const uint64_t pairs = reader.count(pair_bytes_min, "the number of metadata pairs");
  for (uint64_t i = 0; i < pairs && !reader.failed(); i++) read_pair(reader, header);
  for (uint64_t i = 0; i < tensors && !reader.failed(); i++)
    list.tensors.push_back(read_tensor(reader, static_cast<uint32_t>(list.files.size())));
  const uint64_t header_bytes = reader.position();
  header.data_start = base::align_up(header_bytes, header.alignment);
  for (uint64_t i = first; i < list.tensors.size() && !reader.failed(); i++)
    place_tensor(reader, header, file_bytes, list.tensors[i]);
  if (reader.failed()) return reader.failure();
  auto identity = reader.identify(header_bytes);
  if (!identity) return identity.failure();
  list.files.push_back(std::move(*identity));
  check_spans(header, file_bytes, first, list);
  if (header.routed_count != 0 && header.routed_count <= UINT32_MAX)
    list.routed_count = static_cast<uint32_t>(header.routed_count);
  if (!header.kind.empty() && header.kind != "model") list.kind = header.kind;
  return header;
}

/// "<stem>-00002-of-00005.gguf" taken apart.
struct split_name {
  std::string stem;
  uint32_t count = 0;
};

std::optional<split_name> read_split_name(const std::string &path) {
  static constexpr char shape[] = "-#####-of-#####.gguf";
  constexpr size_t length = sizeof shape - 1;
  if (path.size() <= length) return std::nullopt;
  const std::string tail = path.substr(path.size() - length);
  for (size_t i = 0; i < length; i++) {
    const bool digit = tail[i] >= '0' && tail[i] <= '9';
    if (shape[i] == '#' ? !digit : tail[i] != shape[i]) return std::nullopt;
  }
  split_name name;
  name.stem = path.substr(0, path.size() - length);
  name.count = static_cast<uint32_t>(std::stoul(tail.substr(10, 5)));
  if (name.count == 0) return std::nullopt;
  return name;
}

std::string set_name(const split_name &split, uint32_t number) {
  return split.stem + format_text("-%05u-of-%05u.gguf", number + 1, split.count);
}

/// One file, whatever its name says: the header tells whether it is one of a set.
result<tensor_list> read_alone(const std::string &path) {
  tensor_list list;
  list.format = "gguf";
  auto header = read_file(path, list);
  if (!header) return header.failure();
  if (header->split_count <= 1) return list;
  const size_t dot = path.ends_with(".gguf") ? path.size() - 5 : path.size();
  return fail(CUBBY_ERR_INVALID,
              "%s is file %llu of a set of %llu, which are found by their names: rename it to "
              "%s-%05llu-of-%05llu.gguf, and the others alike",
              path.c_str(), static_cast<unsigned long long>(header->split_number + 1),
              static_cast<unsigned long long>(header->split_count), path.substr(0, dot).c_str(),
              static_cast<unsigned long long>(header->split_number + 1),
              static_cast<unsigned long long>(header->split_count));
}

/// Whole files have been published under the name of a shard.
bool says_it_is_whole(const std::string &path) {
  tensor_list unused;
  auto header = read_file(path, unused);
  return header.ok() && header->split_count <= 1;
}

}  // namespace

result<tensor_list> read_gguf(const std::string &path) {
  const auto split = read_split_name(path);
  if (!split || (split->count > 1 && says_it_is_whole(path))) return read_alone(path);
  tensor_list list;
  list.format = "gguf";
  for (uint32_t i = 0; i < split->count; i++) {
    const std::string name = set_name(*split, i);
    auto header = read_file(name, list);
    if (!header) return header.failure();
    const bool names_its_split = header->split_count != 0;
    constexpr char remedy[] = "rename it as its makers did";
    if (names_its_split && header->split_count != split->count)
      return format_error(name, 0,
                          "it is one of a set of " + std::to_string(header->split_count) +
                              ", its name says one of " + std::to_string(split->count),
                          remedy);
    if (names_its_split && header->split_number != i)
      return format_error(name, 0,
                          "it is file " + std::to_string(header->split_number + 1) +
                              " of its set, its name says another",
                          remedy);
  }
  return list;
}

std::vector<std::string> gguf_models_in(const std::string &folder,
                                        const std::vector<std::string> &names) {
  std::vector<std::string> models;
  for (const std::string &name : names) {
    std::string lower = name;
    for (char &c : lower) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    // What lies beside a model: the encoder of images, the statistics of quantisation.
    const bool beside = lower.starts_with("mmproj") || lower.find("imatrix") != std::string::npos;
    if (!lower.ends_with(".gguf") || beside) continue;
    const auto split = read_split_name(folder + name);
    models.push_back(split ? set_name(*split, 0) : folder + name);
  }
  std::sort(models.begin(), models.end());
  models.erase(std::unique(models.begin(), models.end()), models.end());
  return models;
}

}  // namespace cubby::store
