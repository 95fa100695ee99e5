#include "transfer/path_speed.hpp"

#include <algorithm>

namespace cubby::transfer {
namespace {

/// Weight of the newest measurement: speed changes with what else the path carries.
constexpr double newest = 1.0 / 4;
/// So much has to follow the first bytes of a period, for their speed to be more than chance.
constexpr uint64_t sample_bytes_min = uint64_t{1} << 20, sample_bytes_max = uint64_t{4} << 20;

double blend(double old, double seen) { return old == 0 ? seen : old + (seen - old) * newest; }

double since(uint64_t from_ns, uint64_t to_ns) {
  return static_cast<double>(std::max<uint64_t>(to_ns, from_ns + 1) - from_ns);
}

}  // namespace

void path_speed::begin_period(uint64_t now_ns) {
  begun_ns_ = now_ns;
  first_ns_ = 0;
  first_bytes_ = counted_bytes_ = 0;
  latency_taken_ = false;
}

/// What was assumed has no weight beside what was seen.
void path_speed::end_assumption() {
  if (!assumed_) return;
  assumed_ = false;
  bytes_per_ns_ = latency_ns_ = 0;
}

void path_speed::take_speed(double bytes, double took_ns) {
  end_assumption();
  const double seen = bytes / took_ns;
  bytes_per_ns_ = speed_is_guess_ ? seen : blend(bytes_per_ns_, seen);
  speed_is_guess_ = false;
}

void path_speed::take_latency() {
  end_assumption();
  latency_taken_ = true;
  const double took_ns = since(begun_ns_, first_ns_);
  const double bytes = static_cast<double>(first_bytes_);
  if (speed_is_guess_) {
    bytes_per_ns_ = blend(bytes_per_ns_, bytes / took_ns);
    return;
  }
  latency_ns_ = blend(latency_ns_, std::max(0.0, took_ns - bytes / bytes_per_ns_));
}

void path_speed::count(uint64_t bytes, uint64_t now_ns) {
  if (first_ns_ == 0) first_ns_ = mark_ns_ = now_ns;
  if (now_ns <= first_ns_) {
    first_bytes_ += bytes;
  } else {
    if (!latency_taken_) take_latency();
    // What came with the last of a sample belongs to it, though it is found behind it.
    if (counted_bytes_ >= sample_bytes_max && now_ns > last_ns_) {
      take_speed(static_cast<double>(counted_bytes_), since(mark_ns_, last_ns_));
      mark_ns_ = last_ns_;
      counted_bytes_ = 0;
    }
    counted_bytes_ += bytes;
  }
  last_ns_ = now_ns;
}

void path_speed::end_period() {
  if (counted_bytes_ >= sample_bytes_min) {
    take_speed(static_cast<double>(counted_bytes_), since(mark_ns_, last_ns_));
  }
  if (!latency_taken_ && first_ns_ != 0) take_latency();
}

void path_speed::finished(uint64_t bytes, uint64_t now_ns, bool arrived) {
  --in_flight_count_;
  in_flight_bytes_ -= bytes;
  if (arrived) count(bytes, now_ns);
  if (in_flight_count_ == 0) end_period();
}

uint64_t path_speed::estimate_ns(uint64_t bytes) const {
  if (!known()) return base::never_ns;
  const auto ahead = static_cast<double>(in_flight_bytes_ + bytes);
  return static_cast<uint64_t>(latency_ns_ + ahead / bytes_per_ns_);
}

}  // namespace cubby::transfer
