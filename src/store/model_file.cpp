#include "store/model_file.hpp"

#include <dirent.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <exception>
#include <utility>

#include "base/assert.hpp"
#include "store/file_kind.hpp"
#include "store/gguf.hpp"
#include "store/header_reader.hpp"
#include "store/safetensors.hpp"
#include "store/tensor_list.hpp"

namespace cubby::store {
namespace {

result<std::vector<std::string>> names_in(const std::string &path) {
  DIR *directory = opendir(path.c_str());
  if (!directory) {
    const int native = errno;
    return fail_errno(native, "%s could not be listed%s", path.c_str(), open_remedy(native));
  }
  std::vector<std::string> names;
  while (const dirent *entry = readdir(directory)) names.emplace_back(entry->d_name);
  closedir(directory);
  std::sort(names.begin(), names.end());
  return names;
}

result<tensor_list> read_folder(const std::string &path) {
  auto names = names_in(path);
  if (!names) return names.failure();
  for (const std::string &name : *names)
    if (name.ends_with(".safetensors") || name == "model.safetensors.index.json")
      return read_safetensors(path, &*names);
  const std::vector<std::string> models = gguf_models_in(path + "/", *names);
  if (models.size() == 1) return read_gguf(models.front());
  if (models.empty())
    return fail(CUBBY_ERR_INVALID, "%s holds no safetensors or GGUF model; name the model",
                path.c_str());
  std::string list;
  for (const std::string &model : models) {
    if (list.size() > 200) {
      list += ", …";
      break;
    }
    list += (list.empty() ? "" : ", ") + model.substr(path.size() + 1);
  }
  return fail(CUBBY_ERR_INVALID, "%s holds %zu GGUF models: %s; name one of them", path.c_str(),
              models.size(), list.c_str());
}

/// The content decides; the extension only where that is neither.
result<tensor_list> read_tensors(const std::string &path) {
  struct stat about = {};
  if (stat(path.c_str(), &about) != 0) {
    const int native = errno;
    return fail_errno(native, "%s could not be examined%s", path.empty() ? "\"\"" : path.c_str(),
                      open_remedy(native));
  }
  if (S_ISDIR(about.st_mode)) return read_folder(path);
  auto reader = header_reader::open(path, "name a model in one of the two, or convert it to one");
  if (!reader) return reader.failure();
  auto kind = kind_of(*reader);
  if (!kind) return kind.failure();
  if (*kind == file_kind::gguf || path.ends_with(".gguf")) return read_gguf(path);
  if (*kind == file_kind::safetensors || path.ends_with(".safetensors") || path.ends_with(".json"))
    return read_safetensors(path);
  if (*kind == file_kind::json)
    return format_error(path, 0, "this is JSON text, not a model",
                        "name the model's folder, or its index.json by that name");
  reader->refuse(0, "this is neither a GGUF nor a safetensors file");
  return reader->failure();
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
  uint64_t bytes = found.bytes;
  if (bank.table_row_bytes != 0) {
    bytes = std::min(bytes, bank.table_row_count * bank.table_row_bytes - number * found.bytes);
  }
  return {found.run.file, found.run.offset_bytes + column * found.run.stride_bytes, bytes};
}

namespace {

/// Allocation, in practice: sizes are bounded by the file, but the machine may have less.
error no_room_for_header(const std::string &path, const std::exception &failure) {
  return fail(CUBBY_ERR_NO_MEMORY, "reading the header of %s failed: %s; free some memory",
              path.c_str(), failure.what());
}

}  // namespace

result<model_file> open_model(const std::string &path, const std::string &tensors) try {
  auto list = read_tensors(path);
  if (!list) return list.failure();
  return make_banks(std::move(*list), tensors);
} catch (const std::exception &failure) {
  return no_room_for_header(path, failure);
}

result<model_file> open_table(const std::string &path, const std::string &tensor,
                              uint64_t page_bytes) try {
  auto list = read_tensors(path);
  if (!list) return list.failure();
  return make_table(std::move(*list), tensor, page_bytes);
} catch (const std::exception &failure) {
  return no_room_for_header(path, failure);
}

}  // namespace cubby::store
