// Field bug moby #46762: a container runtime blocks io_uring by seccomp and the program has nothing
// to fall back on. A child process puts the same filter on itself, opens both file backends and
// reports through its exit code.
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <string>

#include "support/catch.hpp"
#include "support/services.hpp"
#include "threadpool/threadpool.hpp"
#include "uring/uring.hpp"

namespace {

enum child_exit { good = 0, no_filter = 10, uring_opened = 11, silent = 12, no_fallback = 13 };

/// io_uring_setup gives EPERM from here on, as Docker's default profile makes it.
bool block_io_uring() {
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_io_uring_setup, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter{sizeof program / sizeof *program, program};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

child_exit run_child() {
  if (!block_io_uring()) return no_filter;
  cubby_test::test_services host;
  const cubby_backend_services services = host.services();
  cubby_backend_config config{};
  config.struct_size = sizeof config;
  config.name = "nvme:0";
  config.device = -1;

  cubby_backend *backend = nullptr;
  if (cubby_uring_backend()->open(&services, &config, &backend) != -EPERM) return uring_opened;
  bool explained = false;
  for (const std::string &line : host.lines) explained |= line.find("seccomp") != line.npos;
  if (!explained) return silent;

  const cubby_backend_ops *fallback = cubby_threadpool_backend();
  if (fallback->open(&services, &config, &backend) != 0) return no_fallback;
  fallback->close(backend);
  return good;
}

}  // namespace

TEST_CASE("io_uring blocked by seccomp: an errno, a sentence, and the thread pool still opens") {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(run_child());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == good);
}
