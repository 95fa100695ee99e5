// What a check works with: instances, memory with guards on both sides, frames, files of known
// bytes. finish() gives everything back in the right order and looks at the guards.
#pragma once
#include <memory>
#include <string>
#include <vector>

#include "cli/conformance/instance.hpp"

namespace cubby_conformance {

/// A file of known bytes, removed at the end.
class temp_file {
 public:
  temp_file(const std::string &folder, size_t bytes);
  temp_file(const temp_file &) = delete;
  temp_file &operator=(const temp_file &) = delete;
  ~temp_file();

  const std::string &path() const { return path_; }
  const std::vector<unsigned char> &bytes() const { return bytes_; }
  int fd() const { return fd_; }
  /// Are these the file's bytes from `offset` on? Says where not.
  void expect_bytes(const void *seen, uint64_t offset, uint64_t count, const char *what) const;

 private:
  std::string path_;
  std::vector<unsigned char> bytes_;
  int fd_ = -1;
};

class bench {
 public:
  explicit bench(const subject &on) : on_(on) {}
  bench(const bench &) = delete;
  bench &operator=(const bench &) = delete;
  ~bench();

  const subject &on() const { return on_; }
  bool files() const { return (on_.ops.capabilities & CUBBY_CAP_FILES) != 0; }

  instance &open(const opening &how = {});
  /// Host memory filled with 0xee, its first byte aligned for I/O of `to`; +`skew` bytes.
  unsigned char *memory(const instance &to, uint64_t bytes, uint64_t skew = 0);
  temp_file &file(size_t bytes);
  /// Opens a file and closes it at the end; fails or, where it may not be written, skips.
  uint32_t open_file(instance &in, const temp_file &file, uint32_t flags = CUBBY_BACKEND_FILE_READ);
  /// Frames of a memory backend, released at the end.
  unsigned char *frames(instance &in, uint64_t bytes);

  /// `count` I/Os that succeed on any backend: reads of a file, or copies into frames.
  std::vector<cubby_backend_io> some_ios(instance &in, uint32_t count, uint64_t first_cookie);
  /// Did they?
  void expect_good(const completions &done, size_t count) const;

  /// Throws `failed` when something is not as it has to be at the end.
  void finish();
  /// The test's own files, where descriptors are to be counted.
  void close_files() { files_.clear(); }
  void forget() { forgotten_ = true; }  // after a failure: I/O may still write into this memory

 private:
  struct piece {
    std::unique_ptr<unsigned char[]> all;
    unsigned char *first;
    uint64_t bytes, total_bytes;
  };
  struct open_number {
    instance *in;
    uint32_t file;
  };
  struct reserved {
    instance *in;
    cubby_backend_memory memory;
  };
  void look_at_guards() const;

  const subject &on_;
  bool forgotten_ = false;
  std::vector<std::unique_ptr<instance>> instances_;
  std::vector<piece> pieces_;
  std::vector<std::unique_ptr<temp_file>> files_;
  std::vector<open_number> numbers_;
  std::vector<reserved> frames_;
  const temp_file *some_file_ = nullptr;
  struct some_read {
    uint64_t offset, bytes;
    const unsigned char *memory;
  };
  std::map<uint64_t, some_read> some_reads_;  // by cookie
};

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

inline cubby_backend_io copy_io(uint64_t cookie, uint32_t op, void *to, const void *from,
                                uint64_t bytes) {
  cubby_backend_io io{};
  io.cookie = cookie;
  io.op = op;
  io.memory = to;
  io.source = from;
  io.bytes = bytes;
  return io;
}

}  // namespace cubby_conformance
