#include "transfer/stand_aside.hpp"

#include <algorithm>

namespace cubby::transfer {
namespace {

/// Weight of the newest measurement: what else goes on changes the cost.
constexpr double newest_weight = 1.0 / 4;
/// Of a way that never rests, one measurement.
constexpr uint64_t sample_bytes = uint64_t{16} << 20;

}  // namespace

void way_cost::started(uint64_t now_ns) {
  if (on_it_++ != 0) return;
  since_ns_ = now_ns;
  bytes_ = 0;
}

bool way_cost::ended(uint64_t bytes, uint64_t now_ns, bool arrived) {
  if (arrived) bytes_ += bytes;
  return (--on_it_ == 0 || bytes_ >= sample_bytes) && take(now_ns);
}

bool way_cost::take(uint64_t now_ns) {
  if (bytes_ == 0 || now_ns <= since_ns_) return false;  // where no time is seen, none is measured
  const double seen = static_cast<double>(now_ns - since_ns_) / static_cast<double>(bytes_);
  ns_per_byte_ = ns_per_byte_ == 0 ? seen : ns_per_byte_ + (seen - ns_per_byte_) * newest_weight;
  ++seen_count_;
  since_ns_ = now_ns;
  bytes_ = 0;
  return true;
}

stand_aside::change stand_aside::weigh(const way_cost &through, const way_cost &past,
                                       uint64_t now_ns) {
  if (through.ns_per_byte() == 0 || past.ns_per_byte() == 0) return change::none;
  const uint64_t weighed = through.seen_count() + past.seen_count();
  if (weighed == weighed_count_) return change::none;
  weighed_count_ = weighed;
  const double ratio = through.ns_per_byte() / past.ns_per_byte();
  if (aside_) {
    if (ratio > ends_at) return change::none;
    set(false, now_ns);
    return change::over;
  }
  against_count_ = ratio >= begins_at ? against_count_ + 1 : 0;
  if (against_count_ < measured_min) return change::none;
  set(true, now_ns);
  return change::begun;
}

bool stand_aside::judged(bool aside, uint64_t now_ns) {
  against_count_ = aside == aside_ ? 0 : against_count_ + 1;
  return against_count_ >= measured_min && set(aside, now_ns);
}

bool stand_aside::set(bool aside, uint64_t now_ns) {
  if (aside == aside_) return false;
  aside_ = aside;
  against_count_ = 0;
  if (!aside) return true;
  ++begun_count_;
  probe_.begin(now_ns);
  return true;
}

bool stand_aside::may_use(uint64_t now_ns) {
  if (!aside_ || probe_.due(now_ns)) return true;
  ++past_count_;
  return false;
}

bool probe_clock::due(uint64_t now_ns) {
  if (!is_due(now_ns)) return false;
  pause_ns_ = std::min(2 * pause_ns_, pause_max_ns);
  at_ns_ = now_ns + pause_ns_;
  return true;
}

}  // namespace cubby::transfer
