// How fast bytes come, as completions of one kind show it: what a burst takes until its first bytes
// are there, and how fast the others follow.
#pragma once

#include <cstdint>

#include "base/clock.hpp"

namespace cubby::transfer {

/// A busy period begins with the first thing that is awaited and ends when nothing is. Its first
/// completions give the latency, the later ones the speed, whatever goes on between them: what is
/// digested and copied meanwhile counts.
class path_speed {
 public:
  void started(uint64_t bytes, uint64_t now_ns) {
    if (in_flight_count_++ == 0) begin_period(now_ns);
    in_flight_bytes_ += bytes;
  }
  /// Completions that were found together have the same time. Not `arrived`: it will not come.
  void finished(uint64_t bytes, uint64_t now_ns, bool arrived = true);

  /// What is known of it from elsewhere, until something has come.
  void assume(double bytes_per_ns, double latency_ns) {
    if (known()) return;
    bytes_per_ns_ = bytes_per_ns;
    latency_ns_ = latency_ns;
    assumed_ = true;
  }

  [[nodiscard]] uint64_t in_flight_bytes() const { return in_flight_bytes_; }
  [[nodiscard]] bool known() const { return bytes_per_ns_ != 0; }
  /// From now until so many bytes more have come, behind what is awaited; never_ns =
  /// nothing known.
  [[nodiscard]] uint64_t estimate_ns(uint64_t bytes) const;

 private:
  void begin_period(uint64_t now_ns);
  void end_assumption();
  void take_speed(double bytes, double took_ns);
  void take_latency();
  void count(uint64_t bytes, uint64_t now_ns);
  void end_period();

  uint32_t in_flight_count_ = 0;
  uint64_t in_flight_bytes_ = 0;
  uint64_t begun_ns_ = 0;       // the period
  uint64_t first_ns_ = 0;       // its first completions; 0 = none yet
  uint64_t first_bytes_ = 0;    // theirs
  bool latency_taken_ = false;  // of this period
  uint64_t mark_ns_ = 0;        // since when bytes are counted for the speed
  uint64_t last_ns_ = 0;        // the last completion
  uint64_t counted_bytes_ = 0;  // that came after mark_ns_
  double bytes_per_ns_ = 0, latency_ns_ = 0;
  bool speed_is_guess_ = true;  // from lone I/Os, latency and all
  bool assumed_ = false;        // nothing has come yet
};

}  // namespace cubby::transfer
