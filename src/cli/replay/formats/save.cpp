#include "cli/replay/formats/save.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>

#include "cli/model/new_file.hpp"
#include "cli/replay/formats/compact.hpp"
#include "cli/replay/formats/oracle.hpp"

namespace cubby_cli::replay {
namespace {

using put_fn = std::function<done(std::string_view)>;

done save(const std::string &path, const cubby::base::file_kind &own,
          const std::function<done(const put_fn &)> &write) {
  model::new_file file(own);
  if (auto good = file.open(path, 0); !good) return usage_trouble(good.failure().text);
  const put_fn put = [&](std::string_view piece) {
    return file.write(std::as_bytes(std::span(piece.data(), piece.size())));
  };
  if (auto good = write(put); !good) return good;
  return file.publish();
}

/// Also through links and by other ways, and where neither is there yet.
bool same_file(const std::string &a, const std::string &b) {
  namespace fs = std::filesystem;
  std::error_code failed;
  if (fs::equivalent(a, b, failed) && !failed) return true;
  const fs::path one = fs::weakly_canonical(fs::absolute(a, failed), failed);
  return one == fs::weakly_canonical(fs::absolute(b, failed), failed);
}

}  // namespace

bool is_page(std::string_view begin, uint64_t /*bytes*/) {
  return begin.starts_with("<!DOCTYPE html>") &&
         begin.find("content=\"cubby replay\"") != std::string_view::npos;
}

done check_place(const named_file &file) {
  const std::string &path = file.path;
  struct stat seen = {};
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = (parent.empty() ? std::filesystem::path(".") : parent).string();
  if (stat(folder.c_str(), &seen) != 0)
    return usage_trouble(path + " cannot be made: the folder " + folder +
                         " is missing; make it first");
  if (!S_ISDIR(seen.st_mode))
    return usage_trouble(path + " cannot be made: " + folder + " is no folder; name another");
  if (access(folder.c_str(), W_OK | X_OK) != 0)
    return usage_trouble(path + " cannot be made: this user may not write to the folder " + folder +
                         "; name another");
  return model::may_write(path, file.own);
}

done check_distinct(const std::vector<named_file> &read, const std::vector<named_file> &written) {
  std::vector<named_file> before = read;
  for (const named_file &file : written) {
    if (file.path.empty()) continue;
    for (const named_file &other : before)
      if (same_file(file.path, other.path))
        return usage_trouble(file.option + " " + file.path + " is the file of " + other.option +
                             ", which it would overwrite; name another");
    before.push_back(file);
  }
  return nothing{};
}

done save_trace(const std::string &path, const workload &of) {
  return save(path, is_compact_file,
              [&](const put_fn &put) { return write_compact(of.read, put); });
}

done save_oracle(const std::string &path, const workload &of, uint32_t object_bytes) {
  return save(path, is_oracle_file, [&](const put_fn &put) {
    return of.of_experts() ? write_oracle(of.schedule, object_bytes, put)
                           : write_oracle(of.read.kv, object_bytes, put);
  });
}

done save_page(const std::string &path, std::string_view text) {
  return save(path, is_page, [&](const put_fn &put) { return put(text); });
}

}  // namespace cubby_cli::replay
