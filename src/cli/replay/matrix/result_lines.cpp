#include "cli/replay/matrix/result_lines.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <string_view>
#include <utility>

#include "cli/depth_limit.hpp"

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

json parsed(const std::string &text) {
  depth_limit limit;
  json line = json::parse(text, std::ref(limit), false);
  return limit.exceeded ? json() : line;
}

/// Why a line is not one that a page can be made of; empty where it is.
std::string wrong_in(const json &line) {
  if (!line.is_object()) return "is no line of a matrix's results";
  for (const char *name : {"cell", "trace", "kind", "policy", "capacity", "links"})
    if (!line.contains(name) || !line[name].is_string())
      return std::string("is no line of a matrix's results: it has no text \"") + name + "\"";
  for (const char *name : {"capacity_lockers", "lockers", "accesses", "hits", "hit_ratio"})
    if (!line.contains(name) || !line[name].is_number())
      return std::string("is no line of a matrix's results: it has no number \"") + name + "\"";
  if (line.contains("broken")) return "says \"broken\", which only a report does";
  if (!line.contains("stall")) return {};
  const json &stall = line["stall"];
  const bool good = stall.is_object() && (!stall.contains("share") || stall["share"].is_number());
  return good ? "" : "has a \"stall\" that is none of a matrix's results";
}

/// Keys are written in the order of the alphabet, so each line begins so.
constexpr std::string_view begin_of_line = "{\"accesses\":";

/// May this be what a run that was broken off wrote? After whole lines of ours, already a piece of
/// that beginning is.
bool is_torn(std::string_view text, bool after_others) {
  return text.starts_with(begin_of_line) || (after_others && begin_of_line.starts_with(text));
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

done result_lines::take(const std::string &text, size_t number) {
  json line = parsed(text);
  if (const std::string wrong = wrong_in(line); !wrong.empty())
    return usage_trouble(path_ + ":" + std::to_string(number) + " " + wrong +
                         "; correct or delete that line, or name another file for the results");
  const std::string cell = line["cell"];
  known_[cell] = std::move(line);
  return nothing{};
}

done result_lines::read() {
  auto text = all_of(file_, path_);
  if (!text) return text.failure();
  size_t at = 0, number = 1;
  for (size_t end = 0; (end = text->find('\n', at)) != std::string::npos; at = end + 1, number++)
    if (auto good = take(text->substr(at, end - at), number); !good) return good;
  const std::string last = text->substr(at);
  if (last.empty()) return nothing{};
  // A run was broken off within a line, or just before its end; anything else is somebody else's.
  if (!json::accept(last) && is_torn(last, number > 1)) {
    if (ftruncate(file_, static_cast<off_t>(at)) != 0)
      return system_trouble(path_ + " could not be shortened", errno);
    return nothing{};
  }
  if (auto good = take(last, number); !good) return good;
  return append("\n");
}

const json *result_lines::find(const std::string &cell) const {
  const auto found = known_.find(cell);
  return found == known_.end() ? nullptr : &found->second;
}

done result_lines::add(const std::string &cell, json line) {
  line["cell"] = cell;
  const std::string text = line.dump(-1, ' ', false, json::error_handler_t::replace) + '\n';
  if (auto good = append(text); !good) return good;
  known_[cell] = std::move(line);
  return nothing{};
}

done result_lines::append(const std::string &text) {
  size_t written = 0;
  while (written < text.size()) {
    const ssize_t got = ::write(file_, text.data() + written, text.size() - written);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return system_trouble(path_ + " could not be written", errno);
    written += static_cast<size_t>(got);
  }
  return nothing{};
}

}  // namespace cubby_cli::replay
