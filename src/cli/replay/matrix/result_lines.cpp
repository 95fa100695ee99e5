#include "cli/replay/matrix/result_lines.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

outcome<std::string> all_of(int file, const std::string &path) {
  std::string text;
  char piece[1 << 16];
  for (ssize_t got = 0; (got = ::read(file, piece, sizeof piece)) != 0;) {
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_trouble(path + " could not be read", errno);
    text.append(piece, static_cast<size_t>(got));
  }
  return text;
}

}  // namespace

outcome<result_lines> result_lines::open(const std::string &path) {
  const int file = ::open(path.c_str(), O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0644);
  if (file < 0) {
    trouble failed = system_trouble("results " + path + " could not be opened", errno);
    failed.exit_status = exit_usage;
    return failed;
  }
  result_lines made(file, path);
  struct stat seen = {};
  if (fstat(file, &seen) == 0 && !S_ISREG(seen.st_mode))
    return usage_trouble(path + " is no regular file; name another for the results");
  if (flock(file, LOCK_EX | LOCK_NB) != 0)
    return usage_trouble(path +
                         " is being written by another run; wait for it, or name another "
                         "file for the results");
  if (auto good = made.read(); !good) return good.failure();
  return made;
}

result_lines::~result_lines() {
  if (file_ >= 0) close(file_);
}

result_lines::result_lines(result_lines &&other) noexcept
    : file_(std::exchange(other.file_, -1)),
      path_(std::move(other.path_)),
      known_(std::move(other.known_)) {}

done result_lines::read() {
  auto text = all_of(file_, path_);
  if (!text) return text.failure();
  size_t at = 0, number = 1;
  for (size_t end = 0; (end = text->find('\n', at)) != std::string::npos; at = end + 1, number++) {
    json line = json::parse(text->substr(at, end - at), nullptr, false);
    if (!line.is_object() || !line.contains("cell") || !line["cell"].is_string())
      return usage_trouble(path_ + ":" + std::to_string(number) +
                           " is no line of a matrix's results; name another file for them");
    const std::string cell = line["cell"];
    known_[cell] = std::move(line);
  }
  if (at == text->size()) return nothing{};
  // A run was broken off within a line; what is no beginning of one is somebody else's.
  if (!text->substr(at).starts_with("{\""))
    return usage_trouble(path_ + ":" + std::to_string(number) +
                         " is no line of a matrix's results; name another file for them");
  if (ftruncate(file_, static_cast<off_t>(at)) != 0)
    return system_trouble(path_ + " could not be shortened", errno);
  return nothing{};
}

const json *result_lines::find(const std::string &cell) const {
  const auto found = known_.find(cell);
  return found == known_.end() ? nullptr : &found->second;
}

done result_lines::add(const std::string &cell, json line) {
  line["cell"] = cell;
  const std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t got = ::write(file_, text.data() + written, text.size() - written);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_trouble(path_ + " could not be written", errno);
    written += static_cast<size_t>(got);
  }
  known_[cell] = std::move(line);
  return nothing{};
}

}  // namespace cubby_cli::replay
