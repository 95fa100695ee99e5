#include "marks.hpp"

#include <cerrno>

namespace cubby_cuda {

marks::~marks() {
  if (slots_.empty()) return;
  const in_context here = device_.enter();
  for (const slot &one : slots_) {
    if (one.what != nullptr) device_.driver().event_destroy(one.what);
  }
}

marks::slot *marks::take(uint64_t *mark) {
  const std::lock_guard lock(mutex_);
  if (free_.empty()) {
    free_.reserve(slots_.size() + 1);  // so that giving one back takes no memory
    const auto last = static_cast<uint32_t>(slots_.size());
    slots_.emplace_back().index = last;
    free_.push_back(last);
  }
  const uint32_t index = free_.back();
  free_.pop_back();
  slot &one = slots_[index];
  one.taken = true;
  *mark = uint64_t{++one.use} << 32 | (index + 1);
  return &one;
}

void marks::give(slot &one) {
  const std::lock_guard lock(mutex_);
  one.taken = false;
  free_.push_back(one.index);
}

int32_t marks::record(stream in, uint64_t *mark) {
  const driver_table &driver = device_.driver();
  const in_context here = device_.enter();
  if (is_captured(driver, in)) return -ENOTSUP;
  slot *const one = take(mark);
  status came = success;
  if (one->what == nullptr) came = driver.event_create(&one->what, event_disable_timing);
  if (came == success) came = driver.event_record(one->what, in);
  if (came == success) return 0;
  give(*one);
  return came == invalid_handle || came == invalid_value ? -EINVAL
                                                         : -device_.errno_of(came, "cuEventRecord");
}

marks::slot *marks::find(uint64_t mark) {
  const std::lock_guard lock(mutex_);
  const uint64_t index = (mark & 0xFFFFFFFF) - 1;
  if (index >= slots_.size()) return nullptr;
  slot &one = slots_[index];
  return one.taken && one.use == mark >> 32 ? &one : nullptr;
}

event marks::of(uint64_t mark) {
  const slot *one = find(mark);
  return one == nullptr ? nullptr : one->what;
}

int32_t marks::passed(uint64_t mark) {
  slot *const one = find(mark);
  if (one == nullptr) return -EINVAL;
  status came = success;
  if (!device_.lost()) {
    const in_context here = device_.enter();
    came = device_.driver().event_query(one->what);
    if (came == not_ready) return 0;
  }
  const int32_t error = device_.errno_of(came, "cuEventQuery");
  give(*one);
  return device_.lost() || error != 0 ? -ENODEV : 1;
}

}  // namespace cubby_cuda
