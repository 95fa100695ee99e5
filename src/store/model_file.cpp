#include "store/model_file.hpp"

#include <sys/stat.h>

#include <cerrno>
#include <cstring>
#include <exception>
#include <utility>

#include "base/assert.hpp"
#include "store/gguf.hpp"
#include "store/header_reader.hpp"
#include "store/safetensors.hpp"
#include "store/tensor_list.hpp"

namespace cubby::store {
namespace {

/// The magic number decides; the extension only where there is none (safetensors has no magic).
result<tensor_list> read_tensors(const std::string &path) {
  struct stat about = {};
  if (stat(path.c_str(), &about) != 0) {
    const int native = errno;
    return fail_errno(native, "%s could not be examined%s", path.empty() ? "\"\"" : path.c_str(),
                      open_remedy(native));
  }
  if (S_ISDIR(about.st_mode)) return read_safetensors(path);
  auto reader = header_reader::open(path);
  if (!reader) return reader.failure();
  char magic[4] = {};
  if (!reader->take(magic, sizeof magic, "the magic number")) return reader->failure();
  if (memcmp(magic, "GGUF", 4) == 0 || path.ends_with(".gguf")) return read_gguf(path);
  if (path.ends_with(".safetensors") || path.ends_with(".json")) return read_safetensors(path);
  return format_error(path, 0, "this is neither a GGUF nor a safetensors file");
}

}  // namespace

part_place place_of(const model_bank &bank, uint64_t number, uint32_t part) {
  CUBBY_ASSERT(number < bank.rows.size() * bank.columns && part < bank.part_names.size());
  const row_part &found = bank.rows[number / bank.columns].parts[part];
  const uint64_t column = number % bank.columns;
  if (!found.column_runs.empty()) {
    const part_run &run = found.column_runs[column];
    return {run.file, run.offset_bytes, found.bytes};
  }
  return {found.run.file, found.run.offset_bytes + column * found.run.stride_bytes, found.bytes};
}

result<model_file> open_model(const std::string &path, const std::string &tensors) try {
  auto list = read_tensors(path);
  if (!list) return list.failure();
  return make_banks(std::move(*list), tensors);
} catch (const std::exception &failure) {
  // Allocation, in practice: sizes are bounded by the file, but the machine may have less.
  return fail(CUBBY_ERR_NO_MEMORY, "reading the header of %s failed: %s; free some memory",
              path.c_str(), failure.what());
}

}  // namespace cubby::store
