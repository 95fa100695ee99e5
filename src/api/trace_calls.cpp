// Recording: trace.h.
#include "api/guard.hpp"
#include "api/runtime.hpp"
#include "base/crc32.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

constexpr uint64_t ring_bytes_usual = 1 << 20, ring_bytes_min = 16 << 10, ring_bytes_max = 1 << 30;

}  // namespace

cubby_status cubby_trace_start(cubby_handle *rt, const cubby_trace_config *config) {
  CUBBY_ENTER(rt);
  cubby_trace_config asked{};
  if (config != nullptr) asked = read_struct(*config);
  if (asked.ring_bytes == 0) asked.ring_bytes = ring_bytes_usual;
  if (asked.ring_bytes < ring_bytes_min || asked.ring_bytes > ring_bytes_max) {
    CUBBY_REFUSE("cubby_trace_start: ring_bytes is %llu; it goes from 16 KiB to 1 GiB",
                 static_cast<unsigned long long>(asked.ring_bytes));
  }
  return guarded([&]() -> cubby_status {
    auto made = std::make_unique<engine::recorder>(asked.ring_bytes);  // before anybody has to wait
    const auto lock = self.hold_pump();
    if (!self.engine().feed.start_recording(made)) {
      return keep_error(fail(CUBBY_ERR_BUSY, "a recording runs; cubby_trace_stop ends it"));
    }
    return CUBBY_OK;
  });
}

cubby_status cubby_trace_read(cubby_handle *rt, void *to, uint64_t max_bytes, uint64_t *got_bytes) {
  CUBBY_ENTER(rt);
  if (got_bytes == nullptr || (to == nullptr && max_bytes != 0)) {
    CUBBY_REFUSE("cubby_trace_read: to or got_bytes is NULL");
  }
  return guarded([&]() -> cubby_status {
    const auto lock = self.hold_pump();
    engine::recorder *recording = self.engine().feed.recording();
    if (recording == nullptr) {
      CUBBY_REFUSE("cubby_trace_read: no recording was started; cubby_trace_start does that");
    }
    *got_bytes = recording->read(static_cast<std::byte *>(to), max_bytes);
    return CUBBY_OK;
  });
}

cubby_status cubby_trace_stop(cubby_handle *rt) {
  CUBBY_ENTER(rt);
  return guarded([&]() -> cubby_status {
    const auto lock = self.hold_pump();
    engine::recorder *recording = self.engine().feed.recording();
    if (recording == nullptr || !recording->running()) {
      CUBBY_REFUSE("cubby_trace_stop: no recording runs");
    }
    recording->stop();
    return CUBBY_OK;
  });
}

cubby_status cubby_trace_describe(cubby_handle *rt, cubby_trace_info *out) {
  CUBBY_ENTER(rt);
  if (out == nullptr) CUBBY_REFUSE("cubby_trace_describe: out is NULL");
  return guarded([&]() -> cubby_status {
    const auto lock = self.hold_pump();
    const engine::recorder *recording = self.engine().feed.recording();
    write_struct(recording == nullptr ? cubby_trace_info{} : recording->describe(), out);
    return CUBBY_OK;
  });
}

uint32_t cubby_trace_check(uint32_t before, const void *bytes, uint64_t count) {
  return bytes == nullptr ? before : base::crc32(before, bytes, count);
}
