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

/// Copies up to this size are given to the driver many at once, where it takes that: below it the
/// call costs more than the bytes. Not measured yet; scripts/gpu_check.sh is to say where it is.
constexpr uint64_t batched_bytes_max = uint64_t{256} << 10;

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
  for (auto *one : {&batch_.to, &batch_.from}) one->reserve(depth);
  for (auto *one : {&batch_.ops, &batch_.places}) one->reserve(depth);
  batch_.bytes.reserve(depth);
  int least = 0, greatest = 0;
  const driver_table &driver = device_.driver();
  driver.priority_range(&least, &greatest);
  const status made = driver.stream_create(&stream_, stream_non_blocking, greatest);
  if (made != success) return -device_.errno_of(made, "cuStreamCreateWithPriority");
  return 0;
}

status lane::copy(uint32_t op, device_pointer to, device_pointer from, uint64_t bytes) {
  const driver_table &driver = device_.driver();
  if (op == CUBBY_BACKEND_COPY_PEER) return driver.copy(to, from, bytes, stream_);
  if (op == CUBBY_BACKEND_COPY_OUT) {
    return driver.copy_out(reinterpret_cast<void *>(to), from, bytes, stream_);
  }
  return driver.copy_in(to, reinterpret_cast<const void *>(from), bytes, stream_);
}

void lane::start(const cubby_backend_io &io, uint64_t now_ns) {
  if (device_.has_batches() && io.bytes <= batched_bytes_max) {
    add_to_batch(io);
    return note(io, success, "", now_ns);
  }
  note(io,
       copy(io.op, reinterpret_cast<device_pointer>(io.memory),
            reinterpret_cast<device_pointer>(io.source), io.bytes),
       "cuMemcpyAsync", now_ns);
}

void lane::start_behind(event first, const cubby_backend_io &io, uint64_t now_ns) {
  if (behind_mark_ != io.offset_bytes) {
    start_batch();  // what came before need not wait for this mark
    const status came = device_.driver().stream_wait_event(stream_, first, 0);
    if (came != success) return note(io, came, "cuStreamWaitEvent", now_ns);
    behind_mark_ = io.offset_bytes;
  }
  start(io, now_ns);
}

void lane::add_to_batch(const cubby_backend_io &io) {
  batch_.to.push_back(reinterpret_cast<device_pointer>(io.memory));
  batch_.from.push_back(reinterpret_cast<device_pointer>(io.source));
  batch_.bytes.push_back(io.bytes);
  batch_.ops.push_back(io.op);
  batch_.places.push_back((first_ + count_) % static_cast<uint32_t>(copies_.size()));
}

/// A batch that is refused is made copy by copy, so that each has its own answer; those that were
/// begun move the same bytes again.
void lane::start_batch() {
  const size_t count = batch_.to.size();
  const bool whole =
      count > 1 && device_.copy_batch(batch_.to.data(), batch_.from.data(), batch_.bytes.data(),
                                      count, stream_) == success;
  for (size_t i = 0; i < count && !whole; ++i) {
    const status came = copy(batch_.ops[i], batch_.to[i], batch_.from[i], batch_.bytes[i]);
    if (came != success) mark_failed(batch_.places[i], came, "cuMemcpyAsync");
  }
  batch_.to.clear();
  batch_.from.clear();
  batch_.bytes.clear();
  batch_.ops.clear();
  batch_.places.clear();
}

void lane::mark_failed(uint32_t place, status came, const char *call) {
  copies_[place] = {copies_[place].cookie, 0, device_.errno_of(came, call), 0};
  ++failed_count_;
}

/// What was started, or could not be.
void lane::note(const cubby_backend_io &io, status came, const char *call, uint64_t now_ns) {
  const uint32_t place = (first_ + count_++) % static_cast<uint32_t>(copies_.size());
  copies_[place] = {io.cookie, io.bytes, 0, 0};
  if (came != success) mark_failed(place, came, call);
  ++open_count_;
  open_bytes_ += io.bytes;
  if (open_bytes_ >= group_bytes) flush(now_ns);
}

void lane::flush(uint64_t now_ns) {
  if (open_count_ == 0) return;
  start_batch();
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
