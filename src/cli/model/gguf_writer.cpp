#include "cli/model/gguf_writer.hpp"

#include <bit>

namespace cubby_cli::model {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is written as memory has it");

enum : uint32_t {
  type_u32 = 4,
  type_i32 = 5,
  type_f32 = 6,
  type_bool = 7,
  type_text = 8,
  type_array = 9
};

template <typename T>
void put(std::string &out, T value) {
  out.append(reinterpret_cast<const char *>(&value), sizeof value);
}

void put_text(std::string &out, const std::string &value) {
  put(out, uint64_t{value.size()});
  out += value;
}

}  // namespace

void gguf_header::key(const std::string &name, uint32_t type) {
  put_text(pairs_, name);
  put(pairs_, type);
  pair_count_++;
}

void gguf_header::text(const std::string &name, const std::string &value) {
  key(name, type_text);
  put_text(pairs_, value);
}

void gguf_header::number(const std::string &name, uint32_t value) {
  key(name, type_u32);
  put(pairs_, value);
}

void gguf_header::real(const std::string &name, float value) {
  key(name, type_f32);
  put(pairs_, value);
}

void gguf_header::flag(const std::string &name, bool value) {
  key(name, type_bool);
  put(pairs_, static_cast<uint8_t>(value ? 1 : 0));
}

void gguf_header::texts(const std::string &name, const std::vector<std::string> &values) {
  key(name, type_array);
  put(pairs_, uint32_t{type_text});
  put(pairs_, uint64_t{values.size()});
  for (const std::string &value : values) put_text(pairs_, value);
}

void gguf_header::numbers(const std::string &name, const std::vector<int32_t> &values) {
  key(name, type_array);
  put(pairs_, uint32_t{type_i32});
  put(pairs_, uint64_t{values.size()});
  for (const int32_t value : values) put(pairs_, value);
}

std::string gguf_header::finish(const std::vector<tensor> &tensors) const {
  std::string out = "GGUF";
  put(out, uint32_t{3});
  put(out, uint64_t{tensors.size()});
  put(out, pair_count_);
  out += pairs_;
  uint64_t offset = 0;
  for (const tensor &one : tensors) {
    put_text(out, one.name);
    put(out, static_cast<uint32_t>(one.shape.size()));
    for (const uint64_t extent : one.shape) put(out, extent);
    put(out, static_cast<uint32_t>(one.type));
    put(out, offset);
    offset += aligned(one.bytes());
  }
  out.resize(aligned(out.size()));
  return out;
}

}  // namespace cubby_cli::model
