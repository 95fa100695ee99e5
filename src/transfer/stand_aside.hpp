// Whether a tier between another and the files costs more time than it saves, so that it is gone
// past for a while. Pure: it hears how long ways take, and says which to go.
#pragma once

#include <cstdint>

#include "base/clock.hpp"

namespace cubby::transfer {

/// What a byte takes over one way, by the time in which anything was on it: whatever goes on
/// between, the copies and the digests, counts.
class way_cost {
 public:
  void started(uint64_t now_ns);
  /// Not `arrived`: its bytes did not come. True where there is a measurement more.
  bool ended(uint64_t bytes, uint64_t now_ns, bool arrived);
  /// 0 = not known.
  [[nodiscard]] double ns_per_byte() const { return ns_per_byte_; }
  /// Measurements so far.
  [[nodiscard]] uint64_t seen_count() const { return seen_count_; }

 private:
  bool take(uint64_t now_ns);

  uint32_t on_it_ = 0;
  uint64_t since_ns_ = 0, bytes_ = 0;  // what has come since
  double ns_per_byte_ = 0;
  uint64_t seen_count_ = 0;
};

/// When something that is not done is tried all the same: after pauses, each twice the one before.
class probe_clock {
 public:
  static constexpr uint64_t pause_min_ns = 100'000'000, pause_max_ns = 5'000'000'000;

  void begin(uint64_t now_ns) {
    pause_ns_ = pause_min_ns;
    at_ns_ = now_ns + pause_ns_;
  }
  [[nodiscard]] bool is_due(uint64_t now_ns) const { return now_ns >= at_ns_; }
  /// True once after each pause.
  bool due(uint64_t now_ns);

 private:
  uint64_t at_ns_ = 0, pause_ns_ = pause_min_ns;
};

class stand_aside {
 public:
  enum class change : uint8_t { none, begun, over };

  /// So much dearer than the way past it for so many measurements one after the other, and it is
  /// gone past; so little dearer, and it is used again.
  static constexpr double begins_at = 1.25, ends_at = 1.05;
  static constexpr uint32_t measured_min = 16;

  /// After each measurement of the way through the tier, or past it.
  change weigh(const way_cost &through, const way_cost &past, uint64_t now_ns);
  [[nodiscard]] bool aside() const { return aside_; }
  /// May this one go through the tier? While it is gone past one may, after each pause: by it the
  /// runtime sees when the load has changed.
  bool may_use(uint64_t now_ns);
  /// As may_use() would say, with no probe spent and nothing counted.
  [[nodiscard]] bool would_use(uint64_t now_ns) const { return !aside_ || probe_.is_due(now_ns); }
  void went_past() { ++past_count_; }
  /// Of one that weighs by other measures, and may find another answer each time. True where as
  /// many in a row have said what is new.
  bool judged(bool aside, uint64_t now_ns);
  /// It is gone past from here on, or used again. True where that is new.
  bool set(bool aside, uint64_t now_ns);

  /// How often it was begun, and how many lockers were read from files though they were here.
  [[nodiscard]] uint64_t begun_count() const { return begun_count_; }
  [[nodiscard]] uint64_t past_count() const { return past_count_; }

 private:
  bool aside_ = false;
  uint32_t against_count_ = 0;  // answers one after the other that would change it
  uint64_t weighed_count_ = 0;
  probe_clock probe_;
  uint64_t begun_count_ = 0, past_count_ = 0;
};

}  // namespace cubby::transfer
