// What one point of a curve is, and what was found there.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cli/bench/reader.hpp"
#include "cli/characterize/energy.hpp"
#include "cli/profile/profile.hpp"

namespace cubby_cli::characterize {

enum class verb { read, write, mix70 };
const char *name_of(verb what);

/// What is asked of a file: blocks at random, so many at once.
struct load {
  verb what = verb::read;
  uint64_t block_bytes = 0;
  uint32_t depth = 1;
};

/// Of a point; what other threads did meanwhile is in the processor time and the energy.
struct figures {
  uint64_t bytes = 0;
  double bytes_per_s = 0;
  profile::number p50_ns, p99_ns, p999_ns, cpu_ns_per_byte, joules_per_byte;
};

/// How long single blocks took.
class latencies {
 public:
  void add(uint64_t ns);
  void into(figures &to);

 private:
  std::vector<uint32_t> ns_;  // up to 4.2 s each
};

double median_of(std::vector<uint64_t> values);

/// Processor time and energy from its making to stop(). Speed begins with what ended first: until
/// then a deep queue has only been filled, which is a large part of a short measurement and a small
/// one of a long. It is that of the median slice of the time, a tenth of it, so that one that
/// another program took does not count; of all of the time where that has too few.
class meter {
 public:
  meter(energy_source &energy, double seconds);
  [[nodiscard]] bool over() const {
    return seconds_since(first_ns_ != 0 ? first_ns_ : start_ns_) >= seconds_;
  }
  /// Something has just been done, all of it that was found done together.
  void ended(uint64_t bytes) { ended_at(bytes, clock_ns()); }
  void ended_at(uint64_t bytes, uint64_t now_ns);
  /// As far as it goes; 0 = too little has ended.
  [[nodiscard]] double bytes_per_s() const;
  figures stop(uint64_t bytes, latencies &of);

 private:
  energy_source &energy_;
  const double seconds_;
  uint64_t first_ns_ = 0, last_ns_ = 0;  // 0: nothing has ended
  uint64_t bytes_ = 0;                   // that ended behind the first
  uint64_t slice_start_ns_ = 0, slice_bytes_ = 0;
  std::vector<uint64_t> slices_;  // bytes a second
  const std::optional<double> joules_;
  const uint64_t start_ns_ = clock_ns();
  const bench::stopwatch watch_;
};

/// A point of a profile with these figures. The processor time and energy of what ran beside would
/// count as the load's own, so they are left out there.
profile::point point_of(const load &asked, const char *path, bool beside, const figures &found);

}  // namespace cubby_cli::characterize
