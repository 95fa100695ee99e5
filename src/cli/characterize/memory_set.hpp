// Memory of one NUMA node on pages of one size, and how fast its processors read and write it.
#pragma once

#include <cstdint>
#include <vector>

#include "cli/characterize/measured.hpp"

namespace cubby_cli::characterize {

enum class pages { small, huge };
enum class memory_verb { read, write, copy, mix70 };
const char *name_of(memory_verb what);

/// Blocks at random, by so many threads at once.
struct memory_load {
  memory_verb what = memory_verb::read;
  uint64_t block_bytes = 0;
  uint32_t threads = 1;
};

class memory_set {
 public:
  memory_set() = default;
  ~memory_set();
  memory_set(const memory_set &) = delete;
  memory_set &operator=(const memory_set &) = delete;

  /// Bound to the node, and touched by `cpus` alone: where a container forbids binding, memory
  /// comes from the node of the processor that touches it first.
  done open(uint64_t bytes, pages size, uint32_t node, const std::vector<uint32_t> &cpus);
  /// Why it is not bound; 0: it is.
  [[nodiscard]] int bind_errno() const { return bind_errno_; }
  outcome<figures> run(const memory_load &asked, const std::vector<uint32_t> &cpus, double seconds,
                       energy_counters &energy);
  /// One load after the other, each at an address that the one before gave: ns a load.
  outcome<figures> chase(const std::vector<uint32_t> &cpus, double seconds,
                         energy_counters &energy);
  /// Of its memory, as the kernel says.
  [[nodiscard]] uint64_t huge_bytes() const;
  [[nodiscard]] uint64_t bytes() const { return bytes_; }

 private:
  struct part;
  template <class Goes>
  void work(const memory_load &asked, uint32_t at, part &of, const Goes &goes_on);

  char *base_ = nullptr;
  uint64_t bytes_ = 0;
  void *mapped_ = nullptr;
  uint64_t mapped_bytes_ = 0;
  int bind_errno_ = 0;
};

}  // namespace cubby_cli::characterize
