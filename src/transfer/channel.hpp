// One I/O path: a backend's queue with the jobs that wait for it, most urgent first, and what has
// been measured of its speed. It takes no decisions about lockers.
#pragma once

#include <cubby/backend.h>

#include <cstdint>
#include <vector>

#include "base/abi.hpp"
#include "base/room.hpp"
#include "tier/backend_instance.hpp"
#include "transfer/job_queue.hpp"
#include "transfer/path_speed.hpp"

namespace cubby::transfer {

/// A device that has so many I/Os will not run dry soon.
inline constexpr uint32_t busy_count = 16;

/// How much may be in flight, so that what comes later need not wait long behind it.
struct window {
  uint64_t demand_bytes = uint64_t{8} << 20;
  uint64_t other_bytes = uint64_t{4} << 20;  // prefetch and write-back
  bool synchronous = false;  // the thread that starts a copy makes it, then and there
};

class channel {
 public:
  explicit channel(tier::backend_instance &backend, window limits = {})
      : backend_(backend), limits_(limits) {}

  /// From here on so many jobs may wait, and start, and one more I/O beside them, without more
  /// memory. May throw.
  void make_room(size_t jobs) {
    queue_.make_room(jobs);
    base::make_room(started_, size_t{in_flight_count_} + queue_.roomy_for_jobs() + 1);
  }
  /// A job waits for its turn; `job` is the caller's number for it, as job_queue has them.
  void push(const urgency &how, uint32_t job) { queue_.push(how, job); }
  void remove(uint32_t job) noexcept { queue_.remove(job); }
  /// The most urgent job that there is room for now; nullptr: there is none.
  [[nodiscard]] const job_queue::entry *top() const;

  /// Starts an I/O, at the latest with the next flush().
  void start(const cubby_backend_io &io, uint64_t now_ns);
  /// Hands what was started to the backend. False when it took only part of it.
  bool flush(uint64_t now_ns);
  /// The same where it matters: a busy device gets several I/Os in one call, with the next flush()
  /// at the latest.
  void flush_some(uint64_t now_ns);
  /// Completions, at most max_count, whatever the backend says; flush() comes first.
  uint32_t reap(uint64_t now_ns, cubby_backend_done *out, uint32_t max_count, uint64_t *next_ns);
  /// To be called at every completion, with the bytes asked for.
  void finished(uint64_t bytes, uint32_t io_class, uint64_t now_ns);

  /// How fast it reads, from elsewhere: for estimates until it has been used.
  void assume_speed(double bytes_per_ns, double latency_ns) {
    other_.assume(bytes_per_ns, latency_ns);
  }

  /// How often the backend has said that it took more than it was given, or gave more completions
  /// than were asked for.
  [[nodiscard]] uint64_t overstated_count() const { return overstated_count_; }
  [[nodiscard]] bool synchronous() const { return limits_.synchronous; }
  [[nodiscard]] bool idle() const { return in_flight_count_ == 0 && queue_.empty(); }
  [[nodiscard]] uint32_t in_flight_count() const { return in_flight_count_; }
  [[nodiscard]] uint64_t queued_count() const { return queue_.size(); }
  /// Does demand wait, or have bytes in flight?
  [[nodiscard]] bool serves_demand() const {
    return demand_.in_flight_bytes() != 0 ||
           (!queue_.empty() && queue_.first().how.io_class == CUBBY_DEMAND);
  }
  /// From now until `bytes` more of demand would have arrived behind what is in flight; ~0 =
  /// nothing measured.
  [[nodiscard]] uint64_t estimate_ns(uint64_t bytes) const;
  [[nodiscard]] tier::backend_instance &backend() { return backend_; }

 private:
  path_speed &speed_of(uint32_t io_class) { return io_class == CUBBY_DEMAND ? demand_ : other_; }

  tier::backend_instance &backend_;
  const window limits_;
  job_queue queue_;
  std::vector<cubby_backend_io> started_;  // not yet taken by the backend
  uint32_t in_flight_count_ = 0;
  uint64_t overstated_count_ = 0;
  path_speed demand_, other_;
};

}  // namespace cubby::transfer
