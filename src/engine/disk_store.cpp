#include "engine/disk_store.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace cubby::engine {
namespace {

/// Enough to keep a device busy.
constexpr uint32_t in_flight_max = 32;
constexpr uint64_t in_flight_bytes_max = uint64_t{8} << 20;
constexpr uint64_t write_bytes_max = uint64_t{1} << 20;
/// Beside demand little is in flight, so that little is waited for; and for a while after it, for
/// the next comes while the device still has what was begun in between.
constexpr uint32_t beside_demand_max = 2;
constexpr uint64_t beside_demand_bytes_max = uint64_t{256} << 10;
constexpr uint64_t demand_pause_ns = 10'000'000;
/// One write of a page, whatever was put meanwhile.
constexpr uint64_t note_pause_ns = 20'000'000;
constexpr uint64_t restore_pause_max_ns = 60'000'000'000;

}  // namespace

disk_store::disk_store(engine_state &state, transfer::io_table &ios, uint32_t tier,
                       store::opened_store &&from)
    : state_(state),
      ios_(ios),
      tier_(tier),
      files_(std::move(from.files)),
      content_(std::move(from.content)),
      operations_(in_flight_max) {
  for (uint32_t i = in_flight_max; i-- > 0;) free_.push_back(i);
}

disk_store::~disk_store() {
  const auto note = content_.last_note();
  if (note && files_[0].check()) {
    store::write_all(files_[0].fd(), note->data, note->bytes, note->offset_bytes);
  }
  for (const uint32_t number : numbers_) {
    state_.tiers[tier_].files->backend().close_file(number);
  }
}

result<std::unique_ptr<disk_store>> disk_store::open(engine_state &state, transfer::io_table &ios,
                                                     uint32_t tier, store::opened_store &&from) {
  std::unique_ptr<disk_store> made(new disk_store(state, ios, tier, std::move(from)));
  if (auto opened = made->open_files(); !opened) return opened.failure();
  return made;
}

result<void> disk_store::open_files() {
  tier::backend_instance &backend = state_.tiers[tier_].files->backend();
  io_bytes_max_ = std::min(write_bytes_max, backend.info().io_bytes_max);
  numbers_.reserve(files_.size());
  for (const store::store_file &file : files_) {
    auto opened =
        backend.open_file(file.path().c_str(), CUBBY_BACKEND_FILE_READ | CUBBY_BACKEND_FILE_WRITE);
    if (!opened) return opened.failure();
    numbers_.push_back(opened->file);
    struct stat ours {};
    if (::fstat(file.fd(), &ours) != 0 || ours.st_ino != opened->inode ||
        ours.st_dev != opened->device) {
      return fail(CUBBY_ERR_INVALID,
                  "%s was replaced while it was being opened; let nobody else write there",
                  file.path().c_str());
    }
  }
  return {};
}

bool disk_store::next_operation(store::store_operation &out) {
  if (!ahead_) return content_.next_operation(out);
  out = *ahead_;
  ahead_.reset();
  return true;
}

/// Blocks that were put one after the other often lie so in both places: one large I/O costs less
/// than several.
void disk_store::merge_into(operation &one) {
  using kind = store::store_operation::kind;
  while (one.what.what == kind::write && one.more_count < merged_max) {
    store::store_operation next;
    if (!next_operation(next)) return;
    const auto *const end = static_cast<const std::byte *>(one.what.data) + one.what.bytes;
    const bool follows = next.what == kind::write && next.file == one.what.file &&
                         next.offset_bytes == one.what.offset_bytes + one.what.bytes &&
                         next.data == end && one.what.bytes + next.bytes <= io_bytes_max_;
    if (!follows) {
      ahead_ = next;
      return;
    }
    one.what.bytes += next.bytes;
    one.more[one.more_count++] = next.cookie;
  }
}

bool disk_store::take_operation() {
  if (starting_ != none) return true;
  if (free_.empty()) return false;
  operation &next = operations_[free_.back()];
  next.more_count = 0;
  next.started_bytes = 0;
  next.in_flight = 0;
  next.native = 0;
  if (!next_operation(next.what)) return false;
  if (auto usable = files_[next.what.file].check(); !usable) {
    content_.stop(usable.failure());
    content_.completed(next.what.cookie, usable.failure().native);
    return take_operation();
  }
  merge_into(next);
  starting_ = free_.back();
  free_.pop_back();
  return true;
}

bool disk_store::step() {
  transfer::channel &path = *state_.tiers[tier_].path;
  if (path.serves_demand()) demand_seen_ns_ = state_.now_ns;
  const bool beside_demand = state_.now_ns - demand_seen_ns_ < demand_pause_ns;
  const uint32_t most = beside_demand ? beside_demand_max : in_flight_max;
  const uint64_t bytes_max =
      beside_demand ? std::min(beside_demand_bytes_max, io_bytes_max_) : io_bytes_max_;
  bool any = look_after_failure();
  const bool failed = content_.failure() != nullptr;
  note_end();
  while (in_flight_ < most && in_flight_bytes_ < in_flight_bytes_max) {
    ios_.make_room();  // may throw, and then nothing was taken
    path.make_room(0);
    if (!take_operation()) break;
    start_io(starting_, bytes_max);
    any = true;
  }
  if (any) path.flush(state_.now_ns);
  // Where a file is gone, requests have failed without an I/O: their completions are to be taken.
  return any || (content_.failure() != nullptr) != failed;
}

/// A store that has become read-only is tried again after a second, then after longer pauses. True
/// when a try has begun.
bool disk_store::look_after_failure() {
  const char *const name = state_.tiers[tier_].name.c_str();
  if (content_.failure() == nullptr) {
    if (!std::exchange(failure_said_, false)) return false;
    state_.log(2, format_text("tier %s: the store takes blocks again", name));
    restore_at_ns_ = base::never_ns;
    restore_pause_ns_ = restore_pause_min_ns;
    return false;
  }
  if (content_.restoring()) return false;
  if (!std::exchange(failure_said_, true)) {
    state_.log(0, format_text("tier %s: %s; it is tried again now and then", name,
                              content_.failure()->text.c_str()));
  }
  if (restore_at_ns_ == base::never_ns) restore_at_ns_ = state_.now_ns + restore_pause_ns_;
  if (state_.now_ns < restore_at_ns_) return false;
  restore_at_ns_ = base::never_ns;  // where an operation is still out: a pause from now on
  for (const store::store_file &file : files_) {
    if (!file.check()) return false;
  }
  if (!content_.begin_restore()) return false;
  restore_pause_ns_ = std::min(2 * restore_pause_ns_, restore_pause_max_ns);
  return true;
}

/// How far the journal goes is noted a little after it has grown.
void disk_store::note_end() {
  if (!content_.note_due()) {
    note_at_ns_ = base::never_ns;
  } else if (note_at_ns_ == base::never_ns) {
    note_at_ns_ = state_.now_ns + note_pause_ns;
  } else if (state_.now_ns >= note_at_ns_) {
    note_at_ns_ = base::never_ns;
    if (files_[0].check()) content_.request_note();  // else a put is to be the first that fails
  }
}

/// The next I/O of an operation that is being started.
void disk_store::start_io(uint32_t index, uint64_t bytes_max) {
  operation &one = operations_[index];
  tier_slot &slot = state_.tiers[tier_];
  cubby_backend_io io{};
  io.file = numbers_[one.what.file];
  io.io_class = CUBBY_WRITE_BACK;
  if (one.what.what == store::store_operation::kind::flush) {
    io.op = CUBBY_BACKEND_FLUSH;
    starting_ = none;
  } else {
    io.op = CUBBY_BACKEND_WRITE;
    io.offset_bytes = one.what.offset_bytes + one.started_bytes;
    io.bytes = std::min(bytes_max, one.what.bytes - one.started_bytes);
    io.memory =
        const_cast<std::byte *>(static_cast<const std::byte *>(one.what.data) + one.started_bytes);
    one.started_bytes += io.bytes;
    in_flight_bytes_ += io.bytes;
    if (one.started_bytes == one.what.bytes) starting_ = none;
    ++slot.stats.write_count;
    slot.stats.bytes_in += io.bytes;
    slot.stats.write_back_bytes += io.bytes;
  }
  ++one.in_flight;
  ++in_flight_;
  ios_.start(*slot.path, io, *this, index, state_.now_ns);
}

void disk_store::io_done(uint32_t tag, const cubby_backend_done &done) {
  operation &one = operations_[tag];
  CUBBY_ASSERT(one.in_flight != 0);
  --one.in_flight;
  if (--in_flight_ == 0) in_flight_bytes_ = 0;
  in_flight_bytes_ -= std::min(in_flight_bytes_, done.bytes);
  if (done.error != 0) {
    ++state_.tiers[tier_].stats.error_count;
    if (one.native == 0) one.native = done.error;
  }
  if (one.in_flight != 0 || starting_ == tag) return;
  content_.completed(one.what.cookie, one.native);
  for (uint32_t i = 0; i < one.more_count; ++i) content_.completed(one.more[i], one.native);
  free_.push_back(tag);
}

}  // namespace cubby::engine
