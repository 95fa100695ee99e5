// Marks of how far the streams of a program are: an event each, recorded by whatever thread gives
// up what the stream still uses.
#pragma once
#include <deque>
#include <mutex>
#include <vector>

#include "device.hpp"

namespace cubby_cuda {

class marks {
 public:
  explicit marks(device &of) : device_(of) {}
  marks(const marks &) = delete;
  marks &operator=(const marks &) = delete;
  ~marks();

  /// Any thread. 0 or a negative errno; -ENOTSUP for a stream that a graph is captured from.
  int32_t record(stream in, uint64_t *mark);
  /// Any thread. What a stream waits for that is to go on behind the mark; nullptr: there is none.
  event of(uint64_t mark);
  /// Any thread. 1: the work before it is over, and so is the mark. 0: not yet. -ENODEV: the device
  /// is lost, and the mark is over; -EINVAL: there is no such mark.
  int32_t passed(uint64_t mark);

 private:
  struct slot {
    event what = nullptr;
    uint32_t index = 0;
    uint32_t use = 0;  // which use of the slot; the mark has it, too
    bool taken = false;
  };
  slot *find(uint64_t mark);
  slot *take(uint64_t *mark);
  void give(slot &one);

  device &device_;
  std::mutex mutex_;
  std::deque<slot> slots_;  // each stays where it is
  std::vector<uint32_t> free_;
};

}  // namespace cubby_cuda
