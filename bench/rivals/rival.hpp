// A store of blocks by key, as kv_rivals compares them: the same calls, the same buffers.
#pragma once

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

namespace rivals {

/// What the program that puts is to survive without losing a block whose put has returned.
enum class outlives { process, power_cut };

struct block_key {
  uint32_t series = 0, number = 0;
  [[nodiscard]] std::string text() const {
    char made[32];
    const int length = std::snprintf(made, sizeof made, "%08x.%08x", series, number);
    return {made, static_cast<size_t>(length)};
  }
};

class rival {
 public:
  rival() = default;
  rival(const rival &) = delete;
  rival &operator=(const rival &) = delete;
  virtual ~rival() = default;

  /// As far as possible in one call: the i-th block comes from `from + i * block_bytes`, which
  /// stays as it is until settle() has returned.
  virtual void put(std::span<const block_key> keys, const char *from, outlives what) = 0;
  /// Returns once every block has what put() was asked for.
  virtual void settle() {}
  /// All of them are there.
  virtual void get(std::span<const block_key> keys, char *into) = 0;
  virtual void erase(std::span<const block_key> keys) = 0;
  /// Ends what it has open, so that nothing is left in its own memory, and opens it again; the
  /// caller calls `between` to drop what the page cache has.
  virtual void reopen(void (*between)(const std::string &directory)) = 0;
  /// Of processes that do its work.
  [[nodiscard]] virtual double other_cpu_s() const { return 0; }
};

struct place {
  std::string directory;
  uint64_t block_bytes = 0, set_bytes = 0;
};

[[noreturn]] inline void give_up(const std::string &what) {
  std::fprintf(stderr, "kv_rivals: %s\n", what.c_str());
  std::exit(1);
}

std::unique_ptr<rival> make_cubby(const place &at);
std::unique_ptr<rival> make_files(const place &at);
// Nothing where this build has none.
std::unique_ptr<rival> make_rocksdb(const place &at);
std::unique_ptr<rival> make_lmdb(const place &at);
std::unique_ptr<rival> make_redis(const place &at);

}  // namespace rivals
