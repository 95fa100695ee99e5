// Blocks of a file by a loop that does nothing else: io_uring where it can be had, else threads
// that each do one pread or pwrite after the other.
#pragma once

#include <atomic>
#include <memory>

#include "cli/characterize/measured.hpp"

namespace cubby_cli::characterize {

/// Part of an open file; blocks are whole within it.
struct file_range {
  int fd = -1;
  uint64_t from_bytes = 0, bytes = 0;
};

/// What is written must not compress.
void make_noise(const bench::huge_buffer &memory);

class bare_loop {
 public:
  virtual ~bare_loop() = default;
  /// For that many seconds, or until `stop` is set.
  virtual outcome<figures> run(const load &asked, double seconds, energy_counters &energy,
                               const std::atomic<bool> *stop) = 0;
  /// "io_uring" or "threads".
  [[nodiscard]] virtual const char *name() const = 0;
};

/// `memory_bytes`: for the largest load that is asked, depth times block.
outcome<std::unique_ptr<bare_loop>> make_ring_loop(const file_range &of, uint64_t memory_bytes);
outcome<std::unique_ptr<bare_loop>> make_thread_loop(const file_range &of, uint64_t memory_bytes);
/// The first of the two that works; `why` says why not the ring.
outcome<std::unique_ptr<bare_loop>> make_loop(const file_range &of, uint64_t memory_bytes,
                                              std::string &why);

/// Which block comes next, and whether it is read.
class block_dice {
 public:
  block_dice(const file_range &of, const load &asked, uint64_t seed);
  uint64_t next_offset();
  bool next_reads();

 private:
  uint64_t next();
  const file_range of_;
  const load asked_;
  const uint64_t count_;
  uint64_t state_;
};

}  // namespace cubby_cli::characterize
