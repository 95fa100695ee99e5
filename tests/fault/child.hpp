// Limits of a process are set for real, in a child: what it found comes back as text.
#pragma once

#include <sys/wait.h>
#include <unistd.h>

#include <functional>
#include <string>

#include "support/catch.hpp"

namespace fault_test {

/// What a child says when the limit cannot be put on it here.
inline const std::string not_possible = "not possible here";

/// Runs `body` in a child. What it returns is an empty string when all is well; it comes back here,
/// and how the child died does where it died.
inline std::string in_child(const std::function<std::string()> &body) {
  int ends[2];
  REQUIRE(pipe(ends) == 0);
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    close(ends[0]);
    const std::string said = body();
    const ssize_t written = write(ends[1], said.data(), said.size());
    _exit(written == static_cast<ssize_t>(said.size()) ? 0 : 1);
  }
  close(ends[1]);
  std::string said;
  char block[1024];
  for (ssize_t got = 0; (got = read(ends[0], block, sizeof block)) > 0;) {
    said.append(block, static_cast<size_t>(got));
  }
  close(ends[0]);
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  if (WIFSIGNALED(status)) return "killed by signal " + std::to_string(WTERMSIG(status)) + said;
  if (WEXITSTATUS(status) != 0) return "exit status " + std::to_string(WEXITSTATUS(status)) + said;
  return said;
}

/// Gives up root in this process, for good; true when it is not root afterwards.
inline bool become_nobody() {
  if (geteuid() != 0) return true;
  return setresgid(65534, 65534, 65534) == 0 && setresuid(65534, 65534, 65534) == 0;
}

}  // namespace fault_test
