#include "store/file_kind.hpp"

#include <string>

#include "store/safetensors.hpp"

namespace cubby::store {
namespace {

struct mistaken {
  const char *begins, *is, *remedy;
};

constexpr mistaken mistaken_kinds[] = {
    {"version https://git-lfs", "this is a git-lfs pointer, not the model's bytes",
     "run `git lfs install` and `git lfs pull` in its folder"},
    {"<!DOCTYPE", "this is a web page",
     "download from the address of the file itself, or log in where the model asks for it"},
    {"<!doctype", "this is a web page",
     "download from the address of the file itself, or log in where the model asks for it"},
    {"<html", "this is a web page",
     "download from the address of the file itself, or log in where the model asks for it"},
    {"PK\x03\x04", "this is a zip archive or a PyTorch checkpoint",
     "unpack it, or convert it to safetensors or GGUF"},
    {"\x1f\x8b", "this is compressed by gzip", "unpack it first"},
    {"tjgg", "this is GGML of before GGUF", "convert it to GGUF"},
    {"fmgg", "this is GGML of before GGUF", "convert it to GGUF"},
    {"lmgg", "this is GGML of before GGUF", "convert it to GGUF"},
};

uint64_t length_of(const std::string &first) {
  uint64_t value = 0;
  for (uint32_t i = 8; i-- > 0;) value = value << 8 | static_cast<unsigned char>(first[i]);
  return value;
}

}  // namespace

result<file_kind> kind_of(const header_reader &reader) {
  auto peeked = reader.peek(32);
  if (!peeked) return peeked.failure();
  const std::string &first = *peeked;
  if (first.starts_with("GGUF")) return file_kind::gguf;
  // No magic number, but the length of the header and the header's first byte. Before the others:
  // a length may have any bytes.
  if (first.size() > 8 && first[8] == '{' && length_of(first) <= safetensors_header_bytes_max)
    return file_kind::safetensors;
  for (const mistaken &one : mistaken_kinds)
    if (first.starts_with(one.begins)) return format_error(reader.path(), 0, one.is, one.remedy);
  if (first.starts_with("{")) return file_kind::json;
  return file_kind::other;
}

}  // namespace cubby::store
