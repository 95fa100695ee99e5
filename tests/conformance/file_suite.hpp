// For backends with CUBBY_CAP_FILES. Files lie in the working folder, which ctest sets to the build
// folder: a real file system, not tmpfs.
#pragma once
#include <fcntl.h>
#include <poll.h>

#include <memory>

#include "conformance/suite.hpp"

namespace conformance {

struct free_memory {
  void operator()(unsigned char *memory) const { std::free(memory); }
};
using buffer = std::unique_ptr<unsigned char[], free_memory>;

inline buffer make_buffer(std::size_t bytes) {
  auto memory = static_cast<unsigned char *>(std::aligned_alloc(4096, bytes));
  std::memset(memory, 0xee, bytes);
  return buffer(memory);
}

// A file of known bytes, removed at the end.
struct temp_file {
  std::string path = "conformance_" + std::to_string(getpid()) + "_XXXXXX";
  std::vector<unsigned char> bytes;
  int fd = -1;

  explicit temp_file(std::size_t size) : bytes(size) {
    fd = mkstemp(path.data());
    REQUIRE(fd >= 0);
    for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<unsigned char>(i * 31 + i / 4096);
    REQUIRE(pwrite(fd, bytes.data(), size, 0) == static_cast<ssize_t>(size));
  }
  temp_file(const temp_file &) = delete;
  temp_file &operator=(const temp_file &) = delete;
  ~temp_file() {
    ::close(fd);
    unlink(path.c_str());
  }
};

inline cubby_backend_file open_file(opened &instance, const temp_file &file) {
  cubby_backend_file out{};
  out.struct_size = sizeof out;
  const uint32_t flags = CUBBY_BACKEND_FILE_READ | CUBBY_BACKEND_FILE_WRITE;
  REQUIRE(instance.ops.file_open(instance.self, file.path.c_str(), flags, &out) == 0);
  REQUIRE(out.file != 0);
  return out;
}

inline cubby_backend_io file_io(uint64_t cookie, uint32_t op, uint32_t file, uint64_t offset,
                                void *memory, uint64_t bytes) {
  cubby_backend_io io{};
  io.cookie = cookie;
  io.op = op;
  io.file = file;
  io.offset_bytes = offset;
  io.memory = memory;
  io.bytes = bytes;
  return io;
}

TEST_CASE("many reads, more than the depth, bring the file's bytes") {
  const uint32_t depth = GENERATE(1u, 2u, 32u);
  opened instance(depth);
  if (!instance) return;
  const std::size_t count = 200, size = 8192;
  temp_file file(count * size);
  const uint32_t number = open_file(instance, file).file;
  buffer memory = make_buffer(count * size);
  std::vector<cubby_backend_io> ios;
  for (std::size_t i = 0; i < count; ++i) {
    unsigned char *at = &memory[i * size];
    ios.push_back(file_io(1000 + i, CUBBY_BACKEND_READ, number, i * size, at, size));
  }
  CHECK(instance.ops.submit(instance.self, 0, nullptr, 0) == 0);
  for (const auto &[cookie, done] : instance.run(ios)) {
    CHECK(done.error == 0);
    CHECK(done.bytes == size);
  }
  CHECK(std::memcmp(memory.get(), file.bytes.data(), count * size) == 0);
  instance.ops.file_close(instance.self, number);
}

TEST_CASE("writes and a flush reach the file") {
  opened instance(4);
  if (!instance) return;
  temp_file file(0);
  const uint32_t number = open_file(instance, file).file;
  buffer memory = make_buffer(65536);
  const auto wrote =
      instance.run_one(file_io(1, CUBBY_BACKEND_WRITE, number, 4096, memory.get(), 65536));
  CHECK(wrote.error == 0);
  CHECK(wrote.bytes == 65536);
  CHECK(instance.run_one(file_io(2, CUBBY_BACKEND_FLUSH, number, 0, nullptr, 0)).error == 0);
  std::vector<unsigned char> seen(65536);
  CHECK(pread(file.fd, seen.data(), 65536, 4096) == 65536);
  CHECK(std::memcmp(seen.data(), memory.get(), 65536) == 0);
  instance.ops.file_close(instance.self, number);
}

// The field bug: the short read at the end left an unaligned rest, and resuming it through O_DIRECT
// gave EINVAL in place of the file's last bytes.
TEST_CASE("a 6000-byte file read with 16 KiB gives 6000 bytes and no EINVAL") {
  opened instance;
  if (!instance) return;
  temp_file file(6000);
  const uint32_t number = open_file(instance, file).file;
  buffer memory = make_buffer(16384);
  auto done = instance.run_one(file_io(7, CUBBY_BACKEND_READ, number, 0, memory.get(), 16384));
  CHECK(done.error == 0);
  CHECK(done.bytes == 6000);
  CHECK(std::memcmp(memory.get(), file.bytes.data(), 6000) == 0);
  done = instance.run_one(file_io(8, CUBBY_BACKEND_READ, number, 8192, memory.get(), 4096));
  CHECK(done.error == 0);
  CHECK(done.bytes == 0);
  instance.ops.file_close(instance.self, number);
}

TEST_CASE("unaligned I/O completes with EINVAL, a bad file number with EBADF") {
  opened instance(2);
  if (!instance) return;
  temp_file file(16384);
  const uint32_t number = open_file(instance, file).file;
  buffer memory = make_buffer(16384);
  const uint32_t read = CUBBY_BACKEND_READ;
  const auto done = instance.run({file_io(1, read, number, 1, memory.get(), 4096),
                                  file_io(2, read, number, 0, memory.get() + 8, 4096),
                                  file_io(3, read, number, 0, memory.get(), 100),
                                  file_io(4, read, number + 99, 0, memory.get(), 4096),
                                  file_io(5, read, 0, 0, memory.get(), 4096),
                                  file_io(6, read, number, 0, memory.get(), 4096)});
  for (const uint64_t cookie : {1u, 2u, 3u}) CHECK(done.at(cookie).error == EINVAL);
  for (const uint64_t cookie : {4u, 5u}) CHECK(done.at(cookie).error == EBADF);
  CHECK(done.at(6).error == 0);
  instance.ops.file_close(instance.self, number);
  CHECK(instance.run_one(file_io(9, read, number, 0, memory.get(), 4096)).error == EBADF);
}

TEST_CASE("file_stat sees a change, an absent file is ENOENT") {
  opened instance;
  if (!instance) return;
  temp_file file(4096);
  const cubby_backend_file before = open_file(instance, file);
  CHECK(before.bytes == 4096);
  REQUIRE(ftruncate(file.fd, 9000) == 0);
  cubby_backend_file after{};
  after.struct_size = sizeof after;
  REQUIRE(instance.ops.file_stat(instance.self, before.file, &after) == 0);
  CHECK(after.bytes == 9000);
  CHECK(after.inode == before.inode);
  CHECK(instance.ops.file_stat(instance.self, before.file + 7, &after) == -EBADF);
  CHECK(instance.ops.file_open(instance.self, "absent/file", CUBBY_BACKEND_FILE_READ, &after) ==
        -ENOENT);
  instance.ops.file_close(instance.self, before.file);
}

TEST_CASE("the event descriptor is readable while something could be reaped") {
  opened instance(4);
  if (!instance || instance.ops.event_fd == nullptr) return;
  pollfd ready{instance.ops.event_fd(instance.self), POLLIN, 0};
  if (ready.fd < 0) return;
  CHECK(poll(&ready, 1, 0) == 0);
  const cubby_backend_io wrong[2] = {file_io(1, CUBBY_BACKEND_READ, 0, 0, nullptr, 0),
                                     file_io(2, CUBBY_BACKEND_READ, 0, 0, nullptr, 0)};
  REQUIRE(instance.ops.submit(instance.self, 0, wrong, 2) == 2);
  cubby_backend_done done{};
  uint64_t next = 0;
  for (int i = 0; i < 2; ++i) {
    CHECK(poll(&ready, 1, 5000) == 1);
    CHECK(instance.ops.reap(instance.self, 0, &done, 1, &next) == 1);
    CHECK(done.error == EBADF);
  }
  CHECK(poll(&ready, 1, 0) == 0);
}

}  // namespace conformance
