// Copies of one direction: a stream of their own, and events behind groups of them that say how far
// it is. Copies of one direction end in order; the two directions do not wait for each other.
#pragma once
#include <cubby/backend.h>

#include <vector>

#include "device.hpp"

namespace cubby_cuda {

class lane {
 public:
  explicit lane(device &of) : device_(of) {}
  lane(const lane &) = delete;
  lane &operator=(const lane &) = delete;
  ~lane();

  /// 0 or a negative errno. The device's context is current in all calls.
  int32_t open(uint32_t depth);
  [[nodiscard]] stream on() const { return stream_; }
  [[nodiscard]] uint32_t count() const { return count_; }
  /// Has one failed that was not reaped yet?
  [[nodiscard]] bool has_failed() const { return failed_count_ != 0; }

  /// Starts a copy; what comes of it is said by reap(). Needs a place: count() below the depth.
  void start(const cubby_backend_io &io, uint64_t now_ns);
  /// The same of a copy that begins behind this event, and with it all that follow.
  void start_behind(event first, const cubby_backend_io &io, uint64_t now_ns);
  /// What was started is given to the device, and its end will be seen.
  void flush(uint64_t now_ns);
  uint32_t reap(cubby_backend_done *out, uint32_t max_count);
  /// Looks without taking anything.
  bool is_first_over() { return group_count_ != 0 && look_at(group_at(0)); }
  /// When to look again; ~0 with nothing in flight.
  [[nodiscard]] uint64_t next_ns(uint64_t now_ns) const;

 private:
  void note(const cubby_backend_io &io, status came, const char *call, uint64_t now_ns);
  /// Small copies that wait to be given to the driver by one call.
  struct batch {
    std::vector<device_pointer> to, from;
    std::vector<size_t> bytes;
    std::vector<uint32_t> ops, places;  // places: in copies_
  };
  status copy(uint32_t op, device_pointer to, device_pointer from, uint64_t bytes);
  void add_to_batch(const cubby_backend_io &io);
  void start_batch();
  void mark_failed(uint32_t place, status came, const char *call);
  /// Copies that follow each other, with one event behind the last.
  struct group {
    event behind = nullptr;
    uint32_t count = 0;
    uint64_t started_ns = 0;
    bool over = false;
    int32_t error = 0;  // of all of them
  };
  bool look_at(group &first);
  group &group_at(uint32_t i) { return groups_[(first_group_ + i) % groups_.size()]; }

  device &device_;
  stream stream_ = nullptr;
  std::vector<cubby_backend_done> copies_;  // a ring, as are the groups
  batch batch_;
  std::vector<group> groups_;
  uint32_t first_ = 0, count_ = 0;
  uint32_t first_group_ = 0, group_count_ = 0;
  uint32_t open_count_ = 0;  // of copies that have no event behind them yet
  uint64_t open_bytes_ = 0;
  uint32_t failed_count_ = 0;  // of the copies that could not be started
  uint64_t behind_mark_ = 0;   // the last that the stream was put behind
};

}  // namespace cubby_cuda
