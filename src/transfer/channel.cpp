#include "transfer/channel.hpp"

#include <algorithm>

#include "base/assert.hpp"

namespace cubby::transfer {

const job_queue::entry *channel::top() const {
  if (queue_.empty() || in_flight_count_ >= backend_.info().queue_depth) return nullptr;
  const job_queue::entry &first = queue_.first();
  const uint64_t limit_bytes =
      first.how.io_class == CUBBY_DEMAND ? limits_.demand_bytes : limits_.other_bytes;
  if (demand_.in_flight_bytes() + other_.in_flight_bytes() >= limit_bytes) return nullptr;
  return &first;
}

void channel::start(const cubby_backend_io &io, uint64_t now_ns) {
  started_.push_back(io);
  ++in_flight_count_;
  speed_of(io.io_class).started(io.bytes, now_ns);
}

bool channel::flush(uint64_t now_ns) {
  if (started_.empty()) return true;
  const auto count = static_cast<uint32_t>(started_.size());
  const uint32_t said = backend_.submit(now_ns, started_.data(), count);
  if (said > count) ++overstated_count_;
  const uint32_t taken = std::min(said, count);
  started_.erase(started_.begin(), started_.begin() + taken);
  return started_.empty();
}

void channel::flush_some(uint64_t now_ns) {
  constexpr size_t batch_count = 8;
  const bool busy = in_flight_count_ - started_.size() >= busy_count;
  if (!busy || started_.size() >= batch_count) flush(now_ns);
}

uint32_t channel::reap(uint64_t now_ns, cubby_backend_done *out, uint32_t max_count,
                       uint64_t *next_ns) {
  flush(now_ns);
  *next_ns = base::never_ns;
  if (in_flight_count_ == 0) return 0;
  const uint32_t said = backend_.reap(now_ns, out, max_count, next_ns);
  if (said > max_count) ++overstated_count_;
  return std::min(said, max_count);
}

void channel::finished(uint64_t bytes, uint32_t io_class, uint64_t now_ns) {
  path_speed &of_class = speed_of(io_class);
  CUBBY_ASSERT(in_flight_count_ != 0 && of_class.in_flight_bytes() >= bytes);
  --in_flight_count_;
  of_class.finished(bytes, now_ns);
}

uint64_t channel::estimate_ns(uint64_t bytes) const {
  // The speed of demand is that which it has beside others' I/O, so that is not ahead of it.
  return (demand_.known() ? demand_ : other_).estimate_ns(bytes);
}

}  // namespace cubby::transfer
