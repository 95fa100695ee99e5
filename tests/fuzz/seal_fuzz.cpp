// A seal of any bytes. Behind a first byte of 'd' the seal's own digest is put right, so that
// mutations reach what it guards. An accepted seal is written again to the same bytes.
#include <cstdio>
#include <string>

#include "base/digest.hpp"
#include "fuzz/checks.hpp"
#include "store/seal.hpp"

namespace {

std::string seal_of(std::string_view input) {
  if (!input.starts_with('d')) return std::string(input);
  std::string bytes(input.substr(1));
  const uint64_t digest = cubby::base::digest64(bytes.data(), bytes.size());
  for (uint32_t i = 0; i < 8; i++) bytes += static_cast<char>(digest >> (8 * i) & 0xff);
  return bytes;
}

bool same_file(const std::string &path, const std::string &bytes) {
  FILE *file = fopen(path.c_str(), "rbe");
  if (!file) return false;
  std::string found(bytes.size() + 1, '\0');
  found.resize(fread(found.data(), 1, found.size(), file));
  fclose(file);
  return found == bytes;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static fuzz::folder folder;
  const std::string bytes = seal_of({reinterpret_cast<const char *>(data), size});
  folder.write("seal", bytes);
  auto seal = cubby::store::read_seal(folder.path("seal"));
  if (!seal) {
    fuzz::check_refusal(seal.failure());
  } else {
    fuzz::accepted = true;
    fuzz::require(cubby::store::write_seal(folder.path("again"), *seal).ok(), "not written again");
    fuzz::require(same_file(folder.path("again"), bytes), "written again it has other bytes");
    folder.write("again", {});  // the folder removes what it wrote
    cubby::store::model_file model;
    model.files = seal->files;
    const bool of_files = seal->table_digest == 0;  // no file is a table by itself
    fuzz::require(cubby::store::check_seal(*seal, model).ok() == of_files,
                  "a seal is not of its own files");
  }
  folder.clear();
  return 0;
}
