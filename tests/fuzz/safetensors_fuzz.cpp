// A folder of safetensors: pieces of the input are index.json, config.json and up to three shards.
// A shard that begins with a brace gets the length before it and bytes behind it that make it
// whole, so that mutations reach what is written inside.
#include <string>

#include "fuzz/checks.hpp"

namespace {

constexpr size_t data_bytes = 4096;

std::string shard_of(std::string_view piece) {
  if (!piece.starts_with('{')) return std::string(piece);
  std::string bytes;
  for (uint32_t i = 0; i < 8; i++) bytes += static_cast<char>(piece.size() >> (8 * i) & 0xff);
  bytes += piece;
  return bytes + std::string(data_bytes, 'd');
}

void open(const std::string &path, const char *tensors) {
  auto model = cubby::store::open_model(path, tensors);
  if (model)
    fuzz::check_model(*model);
  else
    fuzz::check_refusal(model.failure());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::folder folder;
  const auto pieces = fuzz::split({reinterpret_cast<const char *>(data), size});
  const size_t shards = pieces.size() > 2 ? pieces.size() - 2 : 0;
  if (!pieces[0].empty()) folder.write("model.safetensors.index.json", pieces[0]);
  if (pieces.size() > 1 && !pieces[1].empty()) folder.write("config.json", pieces[1]);
  for (size_t i = 0; i < shards && i < 3; i++)
    folder.write(std::to_string(i) + ".safetensors", shard_of(pieces[2 + i]));
  open(folder.path(""), "");
  if (shards > 0) open(folder.path("0.safetensors"), "*");
  folder.clear();
  return 0;
}
