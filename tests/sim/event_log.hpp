// What happened, in order: a hash over all of it, and the last events in words.
#pragma once
#include <array>
#include <cinttypes>
#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

#include "base/prng.hpp"

namespace sim {

struct event {
  uint64_t step = 0;
  const char *format = nullptr;  // of three numbers
  std::array<uint64_t, 3> numbers{};
  int64_t status = 0;
};

class event_log {
 public:
  static constexpr size_t stored_count = 20;

  /// `format` is a literal with three PRIu64 at most. Nothing that differs from run to run (an
  /// address, a handle) may go in.
  void add(uint64_t step, const char *format, uint64_t a, uint64_t b, uint64_t c, int64_t status) {
    uint64_t kind = 0;
    for (const char *at = format; *at != '\0'; ++at) {
      kind = kind * 31 + static_cast<unsigned char>(*at);
    }
    for (const uint64_t word : {step, kind, a, b, c, static_cast<uint64_t>(status)}) {
      hash_ = cubby::base::mix64(hash_ ^ word) + 0x9E3779B97F4A7C15ull;
    }
    ring_[count_++ % stored_count] = {step, format, {a, b, c}, status};
  }
  [[nodiscard]] uint64_t hash() const { return hash_; }

  [[nodiscard]] std::vector<std::string> last() const {
    std::vector<std::string> lines;
    for (uint64_t i = count_ > stored_count ? count_ - stored_count : 0; i < count_; ++i) {
      const event &one = ring_[i % stored_count];
      char words[160], line[224];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
#pragma GCC diagnostic ignored "-Wformat-extra-args"
      std::snprintf(words, sizeof words, one.format, one.numbers[0], one.numbers[1],
                    one.numbers[2]);
#pragma GCC diagnostic pop
      std::snprintf(line, sizeof line, "step %" PRIu64 ": %s = %" PRId64, one.step, words,
                    one.status);
      lines.emplace_back(line);
    }
    return lines;
  }

 private:
  uint64_t hash_ = 0x6375626279ull;
  uint64_t count_ = 0;
  std::array<event, stored_count> ring_{};
};

}  // namespace sim
