// Failure as a parameter of a transfer: short, EINTR, EAGAIN, EINVAL, EIO, ENOSPC and never. The
// state that both file backends share is fed directly; then real limits do the same to real files.
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <memory>
#include <string>

#include "common/files.hpp"
#include "support/catch.hpp"
#include "support/services.hpp"
#include "threadpool/threadpool.hpp"

namespace {
using namespace cubby_backends;

alignas(4096) unsigned char block[65536];

// Descriptors that no system call ever sees: this feeds the state, not the kernel.
transfer started(uint32_t op) {
  transfer job;
  job.io.op = op;
  job.io.memory = block;
  job.io.offset_bytes = 8192;
  job.io.bytes = sizeof block;
  job.fds = {1000, 1001};
  return job;
}

}  // namespace

TEST_CASE("short I/O is resumed where it stopped, through the page cache once it is unaligned") {
  const uint32_t op = GENERATE(uint32_t{CUBBY_BACKEND_READ}, uint32_t{CUBBY_BACKEND_WRITE});
  transfer job = started(op);
  CHECK(job.fd() == 1000);
  CHECK_FALSE(job.advance(8192));  // short, aligned: still direct
  CHECK(job.fd() == 1000);
  CHECK(job.offset() == 16384);
  CHECK(job.address() == reinterpret_cast<char *>(block) + 8192);
  CHECK_FALSE(job.advance(1000));  // short, unaligned
  CHECK(job.fd() == 1001);
  CHECK(job.offset() == 17384);
  CHECK(job.left() == sizeof block - 9192);
  CHECK(job.advance(static_cast<int64_t>(job.left())));
  CHECK(job.done().bytes == sizeof block);
  CHECK(job.done().error == 0);
}

TEST_CASE("lasting errors end a transfer and keep what was moved before") {
  const int error = GENERATE(EIO, ENOSPC, EFBIG, EBADF);
  const uint32_t op = GENERATE(uint32_t{CUBBY_BACKEND_READ}, uint32_t{CUBBY_BACKEND_WRITE});
  transfer job = started(op);
  CHECK_FALSE(job.advance(4096));
  CHECK(job.advance(-error));
  CHECK(job.done().error == error);
  CHECK(job.done().bytes == 4096);
}

TEST_CASE("EINTR is no failure; EAGAIN is tried again, and not for ever") {
  transfer job = started(CUBBY_BACKEND_READ);
  for (int i = 0; i < 5000; ++i) REQUIRE_FALSE(job.advance(-EINTR));
  int tries = 0;
  while (tries < 5000 && !job.advance(-EAGAIN)) ++tries;
  CHECK(tries < 5000);
  CHECK(job.done().error == EAGAIN);
  transfer fine = started(CUBBY_BACKEND_READ);
  CHECK_FALSE(fine.advance(-EAGAIN));
  CHECK(fine.advance(sizeof block));
  CHECK(fine.done().error == 0);
}

TEST_CASE("EINVAL of O_DIRECT falls back to the page cache once, then it is an error") {
  transfer job = started(CUBBY_BACKEND_WRITE);
  CHECK_FALSE(job.advance(-EINVAL));
  CHECK(job.fd() == 1001);
  CHECK(job.advance(-EINVAL));
  CHECK(job.done().error == EINVAL);
}

TEST_CASE("nothing moved ends a read as the end of the file, and a write as EIO") {
  transfer read = started(CUBBY_BACKEND_READ);
  CHECK(read.advance(0));
  CHECK(read.done().error == 0);
  CHECK(read.done().bytes == 0);
  transfer write = started(CUBBY_BACKEND_WRITE);
  CHECK(write.advance(0));
  CHECK(write.done().error == EIO);
}

namespace {

// Write 64 KiB to a file through the thread pool; what came of it, or -1 when it could not be
// asked.
cubby_backend_done write_block(const char *path, uint32_t flags) {
  cubby_backend_done out{0, 0, -1, 0};
  cubby_test::test_services host;
  const cubby_backend_services services = host.services();
  cubby_backend_config config{};
  config.struct_size = sizeof config;
  config.device = -1;
  const cubby_backend_ops &ops = *cubby_threadpool_backend();
  cubby_backend *self = nullptr;
  if (ops.open(&services, &config, &self) != 0) return out;
  cubby_backend_file file{};
  file.struct_size = sizeof file;
  const int32_t status = ops.file_open(self, path, flags, &file);
  if (status == 0) {
    cubby_backend_io io{};
    io.op = CUBBY_BACKEND_WRITE;
    io.file = file.file;
    io.memory = block;
    io.bytes = sizeof block;
    uint64_t next = 0;
    ops.submit(self, 0, &io, 1);
    for (int i = 0; i < 100 && ops.reap(self, 0, &out, 1, &next) == 0; ++i) {
      ops.wait(self, 100'000'000, -1);
    }
    ops.file_close(self, file.file);
  }
  ops.close(self);
  return out;
}

}  // namespace

namespace {

constexpr int not_allowed = 77;

/// In a mount namespace of its own: 64 KiB into a file system of 16.
int write_to_small_file_system() {
  char folder[] = "small_file_system.XXXXXX";
  if (mkdtemp(folder) == nullptr) return 10;
  const bool mounted = unshare(CLONE_NEWNS) == 0 &&
                       mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0 &&
                       mount("none", folder, "tmpfs", 0, "size=16k") == 0;
  int result = not_allowed;
  if (mounted) {
    const std::string path = std::string(folder) + "/file";
    const cubby_backend_done done =
        write_block(path.c_str(), CUBBY_BACKEND_FILE_WRITE | CUBBY_BACKEND_FILE_CREATE);
    result = done.error != ENOSPC ? 11 : done.bytes > (16 << 10) ? 12 : 0;
    umount(folder);
  }
  rmdir(folder);
  return result;
}

}  // namespace

TEST_CASE("a full file system completes with ENOSPC") {
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) _exit(write_to_small_file_system());
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  REQUIRE(WIFEXITED(status));
  if (WEXITSTATUS(status) == not_allowed) {
    WARN("SKIPPED: a small file system cannot be mounted here");
    return;
  }
  CHECK(WEXITSTATUS(status) == 0);
}

TEST_CASE("a file size limit in the middle of a write: EFBIG, after resuming at an odd place") {
  const std::string path = "size_limit." + std::to_string(getpid());
  const pid_t child = fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{10000, 10000};
    if (setrlimit(RLIMIT_FSIZE, &limit) != 0) _exit(10);
    const cubby_backend_done done =
        write_block(path.c_str(), CUBBY_BACKEND_FILE_WRITE | CUBBY_BACKEND_FILE_CREATE);
    _exit(done.error != EFBIG ? 11 : done.bytes != 8192 && done.bytes != 10000 ? 12 : 0);
  }
  int status = 0;
  REQUIRE(waitpid(child, &status, 0) == child);
  unlink(path.c_str());
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}
