#include "engine/disk_store.hpp"

#include <sys/stat.h>

#include <algorithm>
#include <utility>

namespace cubby::engine {
namespace {

/// Enough to keep a device busy; and beside demand, little for it to wait behind.
constexpr uint32_t in_flight_max = 32, beside_demand_max = 2;
constexpr uint64_t in_flight_bytes_max = uint64_t{8} << 20;
constexpr uint64_t write_bytes_max = uint64_t{1} << 20;

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

bool disk_store::take_operation() {
  if (starting_ != none) return true;
  if (free_.empty()) return false;
  operation &next = operations_[free_.back()];
  next = {};
  if (!content_.next_operation(next.what)) return false;
  starting_ = free_.back();
  free_.pop_back();
  return true;
}

bool disk_store::step() {
  transfer::channel &path = *state_.tiers[tier_].path;
  const uint32_t most = path.serves_demand() ? beside_demand_max : in_flight_max;
  bool any = false;
  while (in_flight_ < most && in_flight_bytes_ < in_flight_bytes_max) {
    ios_.make_room();  // may throw, and then nothing was taken
    path.make_room(0);
    if (!take_operation()) break;
    start_io(starting_);
    any = true;
  }
  if (any) path.flush(state_.now_ns);
  if (content_.failure() != nullptr && !std::exchange(failure_said_, true)) {
    state_.log(0, format_text("tier %s: %s", state_.tiers[tier_].name.c_str(),
                              content_.failure()->text.c_str()));
  }
  return any;
}

/// The next I/O of an operation that is being started.
void disk_store::start_io(uint32_t index) {
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
    io.bytes = std::min(io_bytes_max_, one.what.bytes - one.started_bytes);
    io.memory =
        const_cast<std::byte *>(static_cast<const std::byte *>(one.what.data) + one.started_bytes);
    one.started_bytes += io.bytes;
    in_flight_bytes_ += io.bytes;
    if (one.started_bytes == one.what.bytes) starting_ = none;
    ++slot.stats.write_count;
    slot.stats.bytes_in += io.bytes;
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
  const uint64_t cookie = one.what.cookie;
  const int native = one.native;
  free_.push_back(tag);
  content_.completed(cookie, native);
}

}  // namespace cubby::engine
