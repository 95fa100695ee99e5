#include "cli/conformance/isolated.hpp"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>

#include "cli/conformance/expect.hpp"
#include "cli/conformance/service_host.hpp"

namespace cubby_conformance {
namespace {

/// Descriptors and shared memory between the two processes, given back at the end.
struct wire {
  std::array<int, 2> pipe{-1, -1};
  int printed = -1;  // takes what the child writes to stdout and stderr
  const char *volatile *doing = nullptr;

  wire() {
    if (pipe2(pipe.data(), O_CLOEXEC) != 0) pipe = {-1, -1};
    printed = memfd_create("printed", MFD_CLOEXEC);
    void *page = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (page != MAP_FAILED) doing = static_cast<const char *volatile *>(page);
  }
  wire(const wire &) = delete;
  wire &operator=(const wire &) = delete;
  ~wire() {
    for (const int fd : {pipe[0], pipe[1], printed}) {
      if (fd >= 0) ::close(fd);
    }
    if (doing != nullptr) munmap(const_cast<const char **>(doing), 4096);
  }
  bool good() const { return pipe[0] >= 0 && printed >= 0 && doing != nullptr; }
};

[[noreturn]] void be_child(const wire &to,
                           const std::function<outcome(const char *volatile *)> &work) {
  const rlimit none{0, 0};
  setrlimit(RLIMIT_CORE, &none);  // a crash is an answer here; its remains would fill the disk
  dup2(to.printed, STDOUT_FILENO);
  dup2(to.printed, STDERR_FILENO);
  const outcome came = work(to.doing);
  std::fflush(nullptr);
  std::string message(1, static_cast<char>('0' + static_cast<int>(came.result)));
  message += came.detail.substr(0, 3000);  // less than a pipe holds, so one write
  const ssize_t put = write(to.pipe[1], message.data(), message.size());
  _exit(put == static_cast<ssize_t>(message.size()) ? 0 : 125);
}

/// What the child sent, until it ends or its time does.
std::string listen(int fd, uint64_t deadline_ns, bool &late) {
  const uint64_t end = clock_ns() + deadline_ns;
  std::string message;
  for (;;) {
    const uint64_t now = clock_ns();
    late = now >= end;
    if (late) return message;
    pollfd ready{fd, POLLIN, 0};
    const auto left_ms = static_cast<int>((end - now) / 1'000'000 + 1);
    if (poll(&ready, 1, left_ms) <= 0) continue;
    char block[4096];
    const ssize_t got = read(fd, block, sizeof block);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return message;
    message.append(block, static_cast<size_t>(got));
  }
}

std::string last_words(int fd) {
  const off_t size = lseek(fd, 0, SEEK_END);
  std::string words(static_cast<size_t>(std::clamp<off_t>(size, 0, 600)), '\0');
  const ssize_t got = pread(fd, words.data(), words.size(), 0);
  words.resize(static_cast<size_t>(std::max<ssize_t>(got, 0)));
  std::replace(words.begin(), words.end(), '\n', ' ');
  return words;
}

std::string location_of(const wire &from, const manners &expected) {
  const char *name = *from.doing;  // a literal, so that its address holds in both processes
  return name == nullptr ? text("outside the ", expected.subject, "'s operations")
                         : text("in ", name, "()");
}

outcome judge(const wire &from, const std::string &message, int status, bool late,
              uint64_t deadline_ns, const manners &expected) {
  const std::string at = location_of(from, expected);
  const std::string words = last_words(from.printed);
  const std::string said = words.empty() ? "" : "; it printed: " + words;
  if (late) {
    return {verdict::fail, text("did not end within ", deadline_ns / 1'000'000'000, " s, ", at,
                                "; ", expected.waits, said)};
  }
  if (WIFSIGNALED(status)) {
    return {verdict::fail, text("crashed by signal ", WTERMSIG(status), " (",
                                strsignal(WTERMSIG(status)), ") ", at, said)};
  }
  if (message.empty() || WEXITSTATUS(status) != 0) {
    return {verdict::fail,
            text("the process ended with exit status ", WEXITSTATUS(status), " ", at, said)};
  }
  outcome came{static_cast<verdict>(message[0] - '0'), message.substr(1)};
  if (came.result == verdict::pass && !words.empty()) {
    return {verdict::fail, expected.prints + said};
  }
  return came;
}

}  // namespace

outcome run_in_child(uint64_t deadline_ns,
                     const std::function<outcome(const char *volatile *)> &work,
                     const manners &expected) {
  wire both;
  std::fflush(nullptr);  // or the child would print it once more
  const pid_t child = both.good() ? fork() : -1;
  if (child < 0) {
    return {verdict::fail,
            text("no process of its own could be made: ", errno_text(errno),
                 "; raise the limits of processes and memory (ulimit -u, ulimit -v)")};
  }
  if (child == 0) be_child(both, work);
  ::close(both.pipe[1]);
  both.pipe[1] = -1;
  bool late = false;
  const std::string message = listen(both.pipe[0], deadline_ns, late);
  if (late) kill(child, SIGKILL);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return judge(both, message, status, late, deadline_ns, expected);
}

outcome run_isolated(const subject &on, const check &what) {
  return run_in_child(on.patience_ns * 8 + 5'000'000'000, [&](const char *volatile *doing) {
    subject watched = on;
    watched.doing = doing;
    return run_here(watched, what);
  });
}

}  // namespace cubby_conformance
