#include "store/gguf.hpp"

#include <algorithm>
#include <cstring>
#include <optional>
#include <utility>

#include "base/checked.hpp"
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

/// The few values of the header that matter here.
struct gguf_header {
  uint64_t alignment = 32;
  uint64_t split_count = 0;
  uint64_t split_number = 0;
  uint64_t routed_count = 0;
  uint64_t data_start = 0;
};

/// Bytes of a value of fixed size; 0 for strings, arrays and unknown types.
uint32_t value_bytes(uint64_t type) {
  static constexpr uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < sizeof bytes ? bytes[type] : 0;
}

void skip_array(header_reader &reader) {
  const uint64_t at = reader.position();
  const uint64_t type = reader.number(4, "an array's type");
  if (type == type_string) {
    const uint64_t count = reader.count(8, "an array's length");
    for (uint64_t i = 0; i < count && !reader.failed(); i++)
      reader.skip(reader.count(1, "a string's length"), "a string");
    return;
  }
  const uint32_t bytes = value_bytes(type);
  if (bytes == 0) return reader.refuse(at, "an array has a type that arrays do not have");
  reader.skip(reader.count(bytes, "an array's length") * bytes, "an array");
}

void read_pair(header_reader &reader, gguf_header &header) {
  const std::string key = reader.text(key_bytes_max, "a metadata key");
  const uint64_t at = reader.position();
  const uint64_t type = reader.number(4, "a metadata type");
  if (reader.failed()) return;
  if (type == type_array) return skip_array(reader);
  if (type == type_string)
    return reader.skip(reader.count(1, "a string's length"), "a metadata string");
  const uint32_t bytes = value_bytes(type);
  if (bytes == 0) return reader.refuse(at, "metadata " + key + " is of an unknown type");
  const uint64_t value = reader.number(bytes, "a metadata value");
  if (key == "general.alignment") header.alignment = value;
  if (key == "split.count") header.split_count = value;
  if (key == "split.no") header.split_number = value;
  if (key.ends_with(".expert_used_count")) header.routed_count = value;
  const bool aligned = header.alignment > 0 && header.alignment <= alignment_max &&
                       (header.alignment & (header.alignment - 1)) == 0;
  if (!aligned) reader.refuse(at, "the alignment is no plausible power of two");
}

/// Bytes of a tensor, or nothing where the product wraps or a row is no whole number of blocks.
std::optional<uint64_t> tensor_bytes(const gguf_type &type, const uint64_t (&dims)[4]) {
  if (dims[0] % type.block_elements != 0) return std::nullopt;
  auto bytes = base::checked_multiply(dims[0] / type.block_elements, type.block_bytes);
  // Zeros would hide a wrap-around in the other factors, hence none are taken.
  for (uint32_t i = 1; i < 4 && bytes; i++) bytes = base::checked_multiply(*bytes, dims[i]);
  for (const uint64_t dim : dims)
    if (dim == 0) return std::nullopt;
  return bytes;
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
  const gguf_type *type = find_gguf_type(reader.number(4, "a tensor's type"));
  tensor.offset_bytes = reader.number(8, "a tensor's offset");
  if (reader.failed()) return tensor;
  tensor.rank = static_cast<uint32_t>(rank);
  tensor.outer = dims[rank - 1];
  std::copy_n(dims, 4, tensor.shape.begin());
  if (!type) {
    reader.refuse(tensor.record_offset, "tensor " + tensor.name + " is of a type unknown here");
    return tensor;
  }
  tensor.type = type->name;
  const auto bytes = tensor_bytes(*type, dims);
  if (bytes)
    tensor.bytes = *bytes;
  else
    reader.refuse(tensor.record_offset, "tensor " + tensor.name + " has impossible dimensions");
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

void read_magic(header_reader &reader) {
  char magic[4] = {};
  reader.take(magic, sizeof magic, "the magic number");
  if (!reader.failed() && memcmp(magic, "GGUF", 4) != 0)
    reader.refuse(0, "this is not a GGUF file");
  const uint64_t version = reader.number(4, "the version");
  if (reader.failed() || version == 2 || version == 3) return;
  // 3 with its bytes the other way round is a file for big-endian machines.
  reader.refuse(4, version == 0x03000000
                       ? "the file is big-endian"
                       : "GGUF version " + std::to_string(version) + ", known here are 2 and 3");
}

/// Adds one file of the set to the list.
result<gguf_header> read_file(const std::string &path, tensor_list &list) {
  auto opened = header_reader::open(path);
  if (!opened) return opened.failure();
  header_reader &reader = *opened;
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

}  // namespace

result<tensor_list> read_gguf(const std::string &path) {
  tensor_list list;
  list.format = "gguf";
  const auto split = read_split_name(path);
  const uint32_t count = split ? split->count : 1;
  for (uint32_t i = 0; i < count; i++) {
    const std::string name =
        split ? split->stem + format_text("-%05u-of-%05u.gguf", i + 1, count) : path;
    auto header = read_file(name, list);
    if (!header) return header.failure();
    const bool told = header->split_count != 0;
    if (told && header->split_count != count)
      return format_error(name, 0,
                          "it is one of a set of " + std::to_string(header->split_count) +
                              ", its name says one of " + std::to_string(count));
    if (told && header->split_number != i)
      return format_error(name, 0, "its place in the split set is not the one its name says");
    if (header->routed_count != 0 && header->routed_count <= UINT32_MAX)
      list.routed_count = static_cast<uint32_t>(header->routed_count);
  }
  return list;
}

}  // namespace cubby::store
