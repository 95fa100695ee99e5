#include "cli/plan/read/header.hpp"

#include <algorithm>
#include <bit>

#include "store/gguf.hpp"
#include "store/header_reader.hpp"
#include "store/json_text.hpp"
#include "store/safetensors.hpp"

namespace cubby_cli::plan {
namespace {

using cubby::store::header_reader;

constexpr uint64_t key_bytes_max = 65535, list_max = 4096;
constexpr uint64_t type_i8 = 1, type_i16 = 3, type_i32 = 5, type_i64 = 11;
constexpr uint64_t type_f32 = 6, type_string = 8, type_array = 9, type_f64 = 12;
constexpr uint32_t depth_max = 8;

/// The format's value types; 0 for strings, arrays and what is not known.
uint32_t value_bytes(uint64_t type) {
  static constexpr uint8_t bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};
  return type < sizeof bytes ? bytes[type] : 0;
}

double number_of(uint64_t bits, uint64_t type) {
  if (type == type_f32) return std::bit_cast<float>(static_cast<uint32_t>(bits));
  if (type == type_f64) return std::bit_cast<double>(bits);
  if (type == type_i8) return static_cast<int8_t>(bits);
  if (type == type_i16) return static_cast<int16_t>(bits);
  if (type == type_i32) return static_cast<int32_t>(bits);
  if (type == type_i64) return static_cast<double>(static_cast<int64_t>(bits));
  return static_cast<double>(bits);
}

void unknown_type(header_reader &from, uint64_t type) {
  from.refuse(from.position(), "metadata of type " + std::to_string(type) + " is not known here");
}

/// The numbers of a list as far as they are wanted; everything else is passed over.
std::vector<double> read_list(header_reader &from, uint32_t depth = 0) {
  std::vector<double> found;
  const uint64_t type = from.number(4, "an array's type");
  if (type == type_array || type == type_string) {
    const uint64_t count = from.count(type == type_string ? 8 : 12, "an array's length");
    for (uint64_t i = 0; i < count && !from.failed(); i++) {
      if (type == type_string)
        from.skip(from.count(1, "a string's length"), "a string");
      else if (depth < depth_max)
        read_list(from, depth + 1);
      else
        unknown_type(from, type);
    }
    return found;
  }
  const uint32_t bytes = value_bytes(type);
  if (bytes == 0) {
    unknown_type(from, type);
    return found;
  }
  const uint64_t count = from.count(bytes, "an array's length");
  const uint64_t taken = std::min(count, list_max);
  for (uint64_t i = 0; i < taken && !from.failed(); i++)
    found.push_back(number_of(from.number(bytes, "an array"), type));
  from.skip((count - taken) * bytes, "an array");
  return found;
}

/// Everything by its whole key; strings apart.
void read_pairs(header_reader &from, model_header &to) {
  from.skip(8, "the magic number and the version");
  from.number(8, "the number of tensors");
  const uint64_t pairs = from.count(13, "the number of metadata pairs");
  for (uint64_t i = 0; i < pairs && !from.failed(); i++) {
    const std::string key = from.text(key_bytes_max, "a metadata key");
    const uint64_t type = from.number(4, "a metadata type");
    if (type == type_array) {
      to.numbers[key] = read_list(from);
    } else if (type == type_string) {
      if (key == "general.architecture")
        to.architecture = from.text(key_bytes_max, "a metadata string");
      else
        from.skip(from.count(1, "a string's length"), "a metadata string");
    } else if (const uint32_t bytes = value_bytes(type); bytes != 0) {
      to.numbers[key] = {number_of(from.number(bytes, "a metadata value"), type)};
    } else {
      unknown_type(from, type);
    }
  }
}

std::vector<tensor_brief> brief(const cubby::store::tensor_list &from) {
  std::vector<tensor_brief> made;
  for (const cubby::store::tensor_info &one : from.tensors)
    made.push_back({one.name, one.type, static_cast<double>(one.bytes), one.shape[1]});
  return made;
}

model_header failed(const cubby::error &why) {
  model_header made;
  made.failure = why.text;
  return made;
}

}  // namespace

model_header read_gguf_header(const std::string &path) {
  const auto tensors = cubby::store::read_gguf(path);
  if (!tensors) return failed(tensors.failure());
  auto opened = header_reader::open(tensors->files.front().path);
  if (!opened) return failed(opened.failure());
  model_header made;
  made.tensors = brief(*tensors);
  read_pairs(*opened, made);
  if (opened->failed()) return failed(opened->failure());
  return made;
}

model_header read_safetensors_header(const std::string &folder,
                                     const std::vector<std::string> &names) {
  const auto tensors = cubby::store::read_safetensors(folder, &names);
  if (!tensors) return failed(tensors.failure());
  model_header made;
  made.tensors = brief(*tensors);
  return made;
}

std::string read_config_json(const std::string &path, nlohmann::json &into) {
  auto config = cubby::store::read_json(path);
  if (!config) return config.failure().text;
  into = std::move(*config);
  return {};
}

}  // namespace cubby_cli::plan
