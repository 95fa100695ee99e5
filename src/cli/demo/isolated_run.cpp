#include "cli/demo/isolated_run.hpp"

#include <fcntl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>

#include "cli/interrupts.hpp"

namespace cubby_cli::demo {
namespace {

/// Into a file that is there, as those of a cgroup are. False with errno.
bool write_file(const std::string &path, const std::string &text) {
  const int fd = ::open(path.c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool good = ::write(fd, text.data(), text.size()) == static_cast<ssize_t>(text.size());
  const int why = errno;
  ::close(fd);
  errno = why;
  return good;
}

/// Tried with a child: one that may make a group may still not be allowed to move into it.
bool takes_processes(const std::string &folder) {
  const pid_t child = ::fork();
  if (child < 0) return false;
  if (child == 0) {
    ::pause();
    ::_exit(0);
  }
  const bool good = write_file(folder + "/cgroup.procs", std::to_string(child));
  const int why = errno;
  ::kill(child, SIGKILL);
  while (::waitpid(child, nullptr, 0) < 0 && errno == EINTR) {
  }
  errno = why;
  return good;
}

void write_all(int fd, const std::string &text) {
  for (size_t at = 0; at < text.size();) {
    const ssize_t put = ::write(fd, text.data() + at, text.size() - at);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return;
    at += static_cast<size_t>(put);
  }
}

std::string read_all(int fd) {
  std::string text;
  char piece[4096];
  for (;;) {
    const ssize_t got = ::read(fd, piece, sizeof piece);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return text;
    text.append(piece, static_cast<size_t>(got));
  }
}

volatile sig_atomic_t running_child = 0, interrupted = 0;

/// An interrupt ends the child and is returned as trouble, so that the limit's folder does not stay
/// behind.
void pass_on(int number) {
  interrupted = 1;
  if (running_child != 0) ::kill(running_child, number);
}

[[noreturn]] void be_child(int fd, const memory_limit *limit,
                           const std::function<outcome<nlohmann::json>()> &body) {
  nlohmann::json answer;
  if (limit != nullptr && limit->by() != "none" && !limit->enter()) {
    answer = {{"trouble", "the memory limit could not be entered"}, {"exit", exit_bad}};
  } else {
    auto result = body();
    answer = result ? nlohmann::json{{"result", *result}}
                    : nlohmann::json{{"trouble", result.failure().text},
                                     {"exit", result.failure().exit_status}};
  }
  write_all(fd, answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace));
  ::_exit(0);
}

}  // namespace

memory_limit::memory_limit(uint64_t bytes) : bytes_(bytes) {
  for (const auto &place : limit_places()) {
    if (make(place)) {
      trouble_.clear();  // of those tried before
      return;
    }
    trouble_ += (trouble_.empty() ? "" : "; ") + folder_ + ": " + std::strerror(errno);
  }
  folder_.clear();
  if (trouble_.empty())
    trouble_ = "no cgroup above this process has the memory controller for its children";
  trouble_ += "; run it as root, outside a container or in one that may make cgroups";
}

/// False with errno.
bool memory_limit::make(const limit_place &place) {
  folder_ = place.folder + "/cubby-demo-" + std::to_string(::getpid());
  if (::mkdir(folder_.c_str(), 0755) != 0) return false;
  if (write_file(folder_ + "/" + place.file, std::to_string(bytes_)) && takes_processes(folder_)) {
    by_ = place.by;
    return true;
  }
  const int why = errno;
  ::rmdir(folder_.c_str());
  errno = why;
  return false;
}

memory_limit::~memory_limit() {
  if (!folder_.empty()) ::rmdir(folder_.c_str());
}

bool memory_limit::enter() const {
  return write_file(folder_ + "/cgroup.procs", std::to_string(::getpid()));
}

outcome<nlohmann::json> run_isolated(const memory_limit *limit,
                                     const std::function<outcome<nlohmann::json>()> &body) {
  int ends[2];
  if (::pipe(ends) != 0) return system_trouble("a pipe could not be made", errno);
  interrupted = 0;
  const interrupt_guard guard(pass_on);
  const pid_t child = ::fork();
  if (child < 0) return system_trouble("a process could not be made", errno);
  if (child == 0) {
    guard.restore();
    ::close(ends[0]);
    be_child(ends[1], limit, body);
  }
  running_child = child;
  if (interrupted != 0) ::kill(child, SIGTERM);  // it came before the child was known
  ::close(ends[1]);
  const std::string text = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  rusage used{};
  while (::wait4(child, &status, 0, &used) < 0 && errno == EINTR) {
  }
  running_child = 0;
  if (interrupted != 0) return trouble{"interrupted", exit_bad};
  const auto answer = nlohmann::json::parse(text, nullptr, false);
  if (answer.is_discarded()) {
    return trouble{WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL
                       ? "the run was killed, likely by its memory limit"
                       : "the run ended without an answer"};
  }
  if (answer.contains("trouble")) return trouble{answer["trouble"], answer["exit"]};
  nlohmann::json result = answer["result"];
  const auto seconds = [](const timeval &t) {
    return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6;
  };
  result["peak_rss_bytes"] = static_cast<uint64_t>(used.ru_maxrss) * 1024;
  result["cpu_s"] = seconds(used.ru_utime) + seconds(used.ru_stime);
  return result;
}

}  // namespace cubby_cli::demo
