// The ways to read blocks of a file that `cubby bench` compares. Each is made once, then asked for
// one sample after the other, in turn with the others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "cli/outcome.hpp"

namespace cubby_cli::bench {

/// Blocks of one size, every `stride_bytes`, the first at `skew_bytes`.
struct layout {
  std::string path;
  uint64_t file_bytes = 0;
  uint64_t block_bytes = 0, stride_bytes = 0, skew_bytes = 0;
  [[nodiscard]] uint64_t count() const {
    return file_bytes < skew_bytes + block_bytes
               ? 0
               : (file_bytes - skew_bytes - block_bytes) / stride_bytes + 1;
  }
  [[nodiscard]] uint64_t offset(uint64_t block) const { return skew_bytes + block * stride_bytes; }
};

/// What one sample took. CPU is the process's, user and system, kernel workers included.
struct sample {
  double seconds = 0;
  uint64_t bytes = 0, cpu_ns = 0;
  uint64_t starved_ns = 0;  // in which its threads could run and others had the processors
  [[nodiscard]] double gb_per_s() const { return static_cast<double>(bytes) / seconds / 1e9; }
};

class reader {
 public:
  virtual ~reader() = default;
  /// Reads these blocks, as many at once as it was made for.
  virtual outcome<sample> run(const std::vector<uint32_t> &blocks) = 0;
};

/// Through the library: one file channel, one host tier, caller pump, every read a miss.
outcome<std::unique_ptr<reader>> make_cubby(const layout &file, uint32_t depth, bool verified);
/// io_uring, O_DIRECT, huge pages, registered file and buffers, nothing else.
outcome<std::unique_ptr<reader>> make_bare(const layout &file, uint32_t depth);
/// O_DIRECT pread by `depth` threads (at most 8).
outcome<std::unique_ptr<reader>> make_pread(const layout &file, uint32_t depth);
/// The fio command; reads as many random blocks of its own choice.
outcome<std::unique_ptr<reader>> make_fio(const layout &file, uint32_t depth);

/// Time in which threads of this process could run and others had the processors: of all of them,
/// or of the caller alone. 0 where the kernel does not count it.
uint64_t starved_ns();
uint64_t starved_here_ns();

/// Measures a piece of work.
class stopwatch {
 public:
  stopwatch();
  [[nodiscard]] sample stop(uint64_t bytes) const;

 private:
  uint64_t start_ns_, cpu_start_ns_, starved_start_ns_;
};

/// `bytes` on huge pages, touched; ends with the process's mapping.
class huge_buffer {
 public:
  explicit huge_buffer(uint64_t bytes);
  ~huge_buffer();
  huge_buffer(const huge_buffer &) = delete;
  huge_buffer &operator=(const huge_buffer &) = delete;
  [[nodiscard]] char *data() const { return data_; }  // nullptr: none could be had
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  void *mapped_ = nullptr;
  char *data_ = nullptr;
  uint64_t mapped_bytes_ = 0, bytes_;
};

}  // namespace cubby_cli::bench
