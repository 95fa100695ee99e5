#include "lane.hpp"

#include <algorithm>
#include <cerrno>

#include "../common/common.hpp"

namespace cubby_cuda {
namespace {
using namespace cubby_backends;

/// An event behind so many bytes, about 20 µs of a PCIe 5 link: what has come is seen early, and
/// small copies share an event.
constexpr uint64_t group_bytes = uint64_t{1} << 20;

}  // namespace

lane::~lane() {
  const in_context here = device_.enter();
  for (const group &one : groups_) {
    if (one.behind != nullptr) device_.driver().event_destroy(one.behind);
  }
  if (stream_ != nullptr) device_.driver().stream_destroy(stream_);
}

int32_t lane::open(uint32_t depth) {
  copies_.resize(depth);
  groups_.resize(depth);
  int least = 0, greatest = 0;
  const driver_table &driver = device_.driver();
  driver.priority_range(&least, &greatest);
  const status made = driver.stream_create(&stream_, stream_non_blocking, greatest);
  if (made != success) return -device_.errno_of(made, "cuStreamCreateWithPriority");
  return 0;
}

void lane::start(const cubby_backend_io &io, uint64_t now_ns) {
  const driver_table &driver = device_.driver();
  status came = success;
  if (io.op == CUBBY_BACKEND_COPY_IN) {
    came =
        driver.copy_in(reinterpret_cast<device_pointer>(io.memory), io.source, io.bytes, stream_);
  } else {
    came =
        driver.copy_out(io.memory, reinterpret_cast<device_pointer>(io.source), io.bytes, stream_);
  }
  note(io, came, "cuMemcpyAsync", now_ns);
}

void lane::start_behind(event first, const cubby_backend_io &io, uint64_t now_ns) {
  if (behind_mark_ != io.offset_bytes) {
    const status came = device_.driver().stream_wait_event(stream_, first, 0);
    if (came != success) return note(io, came, "cuStreamWaitEvent", now_ns);
    behind_mark_ = io.offset_bytes;
  }
  start(io, now_ns);
}

/// What was started, or could not be.
void lane::note(const cubby_backend_io &io, status came, const char *call, uint64_t now_ns) {
  const int32_t error = device_.errno_of(came, call);
  copies_[(first_ + count_++) % copies_.size()] = {io.cookie, error == 0 ? io.bytes : 0, error, 0};
  if (error != 0) ++failed_count_;
  ++open_count_;
  open_bytes_ += io.bytes;
  if (open_bytes_ >= group_bytes) flush(now_ns);
}

void lane::flush(uint64_t now_ns) {
  if (open_count_ == 0) return;
  group &last = group_at(group_count_++);
  last.count = open_count_;
  last.started_ns = now_ns;
  last.over = false;
  last.error = 0;
  open_count_ = 0;
  open_bytes_ = 0;
  const driver_table &driver = device_.driver();
  status came = success;
  if (last.behind == nullptr) came = driver.event_create(&last.behind, event_disable_timing);
  if (came == success) came = driver.event_record(last.behind, stream_);
  if (came == success) return;
  // Without an event nobody would see the end, so it is waited for here. A lost device ends at
  // once.
  last.error = device_.errno_of(driver.stream_synchronize(stream_), "cuStreamSynchronize");
  last.over = true;
}

bool lane::look_at(group &first) {
  if (first.over) return true;
  if (device_.lost()) {
    first.error = ENODEV;
    return first.over = true;
  }
  const status came = device_.driver().event_query(first.behind);
  if (came == not_ready) return false;
  first.error = device_.errno_of(came, "cuEventQuery");
  return first.over = true;
}

uint32_t lane::reap(cubby_backend_done *out, uint32_t max_count) {
  uint32_t reaped = 0;
  while (reaped < max_count && group_count_ != 0) {
    group &first = groups_[first_group_];
    if (!look_at(first)) break;
    for (; first.count != 0 && reaped < max_count; --first.count, --count_, ++reaped) {
      cubby_backend_done &done = copies_[first_];
      if (done.error != 0) --failed_count_;
      if (done.error == 0 && first.error != 0) done = {done.cookie, 0, first.error, 0};
      out[reaped] = done;
      first_ = (first_ + 1) % static_cast<uint32_t>(copies_.size());
    }
    if (first.count != 0) break;
    first_group_ = (first_group_ + 1) % static_cast<uint32_t>(groups_.size());
    --group_count_;
  }
  return reaped;
}

/// Often at first, and the longer it takes the more seldom: it is seen an eighth too late at most.
uint64_t lane::next_ns(uint64_t now_ns) const {
  constexpr uint64_t soonest_ns = 5'000, latest_ns = 1'000'000;
  if (group_count_ == 0) return never_ns;
  const group &first = groups_[first_group_];
  if (first.over || device_.lost()) return now_ns;
  const uint64_t spent_ns = now_ns - std::min(now_ns, first.started_ns);
  return now_ns + std::clamp(spent_ns / 8, soonest_ns, latest_ns);
}

}  // namespace cubby_cuda
