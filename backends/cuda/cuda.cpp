#include "cuda.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <new>
#include <vector>

#include "../common/common.hpp"
#include "lane.hpp"
#include "marks.hpp"

namespace cubby_cuda {
namespace {
using namespace cubby_backends;

struct instance {
  instance(const driver_table &driver, const cubby_backend_services &given)
      : services(given),
        gpu(driver, services),
        in(gpu),
        out(gpu),
        marked_in(gpu),
        marked_out(gpu),
        stream_marks(gpu) {}
  instance(const instance &) = delete;
  instance &operator=(const instance &) = delete;
  ~instance() {
    const in_context here = gpu.enter();
    if (order != nullptr) gpu.driver().event_destroy(order);
  }

  [[nodiscard]] uint32_t in_flight() const {
    uint32_t count = static_cast<uint32_t>(refused.size());
    for (const lane *one : lanes) count += one->count();
    return count;
  }

  const cubby_backend_services services;
  device gpu;
  uint32_t depth = 0;
  lane in, out;
  // Behind the marks of callers' streams, which may stand still: others are not held up by that.
  lane marked_in, marked_out;
  const std::array<lane *, 4> lanes{&in, &out, &marked_in, &marked_out};
  marks stream_marks;
  event order = nullptr;                    // behind the copies that a caller's stream waits for
  std::vector<cubby_backend_done> refused;  // over before they began
};

instance &of(cubby_backend *backend) { return *reinterpret_cast<instance *>(backend); }
stream stream_of(uint64_t handle) {
  return handle == 0 ? legacy_stream() : reinterpret_cast<stream>(handle);
}

int32_t open_on(instance &self, const cubby_backend_config &config) {
  // A copy is three commands of its stream at most: a wait, itself, an event. A stream takes about a
  // thousand before it holds up who gives it more, and copies may be what it is waiting for.
  constexpr uint32_t default_depth = 256, depth_max = 320;
  if (const int32_t error = self.gpu.open(config.device); error != 0) return error;
  self.depth = config.queue_depth == 0 ? default_depth : std::min(config.queue_depth, depth_max);
  self.refused.reserve(self.depth);
  const in_context here = self.gpu.enter();
  for (lane *one : self.lanes) {
    if (const int32_t error = one->open(self.depth); error != 0) return error;
  }
  const status made = self.gpu.driver().event_create(&self.order, event_disable_timing);
  return -self.gpu.errno_of(made, "cuEventCreate");
}

int32_t open(const cubby_backend_services *services, const cubby_backend_config *config,
             cubby_backend **out) try {
  if (services == nullptr || config == nullptr || out == nullptr) return -EINVAL;
  const cubby_backend_config asked = read_struct(*config);
  const cubby_backend_services given = read_struct(*services);
  const auto *driver = static_cast<const driver_table *>(asked.user);
  if (driver == nullptr) {
    const loaded_driver &machine = machine_driver();
    if (!machine.why_not.empty()) {
      log_line(given, 0, machine.why_not.c_str());
      return -ENOTSUP;
    }
    driver = &machine.table;
  }
  auto made = std::make_unique<instance>(*driver, given);
  if (const int32_t error = open_on(*made, asked); error != 0) return error;
  *out = reinterpret_cast<cubby_backend *>(made.release());
  return 0;
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

void close(cubby_backend *backend) { delete &of(backend); }

int32_t describe(cubby_backend *backend, cubby_backend_info *out) {
  const instance &self = of(backend);
  cubby_backend_info info{};
  info.capabilities = CUBBY_CAP_MEMORY | CUBBY_CAP_DEVICE_ADDRESSABLE;
  info.align_bytes = 1;
  info.queue_depth = self.depth;
  info.io_bytes_max = never_ns;
  info.registered = self.gpu.has_registered() ? 1 : 0;
  set_text(info.io, "cuda");
  set_text(info.why, self.gpu.description().c_str());
  write_struct(info, out);
  return 0;
}

int32_t memory_reserve(cubby_backend *backend, uint64_t bytes, cubby_backend_memory *out) try {
  return of(backend).gpu.reserve(bytes, of(backend).in.on(), out);
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

void memory_release(cubby_backend *backend, const cubby_backend_memory *memory) {
  if (memory != nullptr && memory->base != nullptr) of(backend).gpu.release(*memory);
}

int32_t memory_register(cubby_backend *backend, void *base, uint64_t bytes) try {
  return of(backend).gpu.register_host(base, bytes);
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

void memory_unregister(cubby_backend *backend, void *base, uint64_t) {
  of(backend).gpu.unregister_host(base);
}

int32_t memory_address(cubby_backend *backend, const void *base, uint64_t *address) try {
  if (base == nullptr || address == nullptr) return -EINVAL;
  return of(backend).gpu.address_of(base, address);
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

int32_t memory_check(cubby_backend *backend, const void *base, uint64_t bytes) try {
  return of(backend).gpu.check(base, bytes);
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

void start(instance &self, uint64_t now_ns, const cubby_backend_io &io) {
  const bool in = io.op == CUBBY_BACKEND_COPY_IN || io.op == CUBBY_BACKEND_COPY_PEER;
  const bool known = in || io.op == CUBBY_BACKEND_COPY_OUT;
  const bool named = io.memory != nullptr && io.source != nullptr;
  const auto end_at_once = [&](int32_t error) { self.refused.push_back({io.cookie, 0, error, 0}); };
  if (!known || (io.bytes != 0 && !named)) return end_at_once(EINVAL);
  if (io.bytes == 0) return end_at_once(0);
  if (self.gpu.lost()) return end_at_once(ENODEV);
  if (io.offset_bytes == 0) return (in ? self.in : self.out).start(io, now_ns);
  auto *const behind = self.stream_marks.of(io.offset_bytes);
  if (behind == nullptr) return end_at_once(EINVAL);
  (in ? self.marked_in : self.marked_out).start_behind(behind, io, now_ns);
}

uint32_t submit(cubby_backend *backend, uint64_t now_ns, const cubby_backend_io *ios,
                uint32_t count) {
  instance &self = of(backend);
  const uint32_t accepted = std::min(count, self.depth - self.in_flight());
  if (accepted == 0) return 0;
  const in_context here = self.gpu.enter();
  for (uint32_t i = 0; i < accepted; ++i) start(self, now_ns, ios[i]);
  for (lane *one : self.lanes) one->flush(now_ns);
  return accepted;
}

uint64_t next_look_ns(const instance &self, uint64_t now_ns) {
  if (!self.refused.empty()) return now_ns;
  uint64_t next = never_ns;
  for (const lane *one : self.lanes) next = std::min(next, one->next_ns(now_ns));
  return next;
}

uint32_t reap(cubby_backend *backend, uint64_t now_ns, cubby_backend_done *out, uint32_t max_count,
              uint64_t *next_ns) {
  instance &self = of(backend);
  uint32_t reaped = 0;
  for (; reaped < max_count && !self.refused.empty(); self.refused.pop_back()) {
    out[reaped++] = self.refused.back();
  }
  if (self.in_flight() != self.refused.size()) {
    const in_context here = self.gpu.enter();
    for (lane *one : self.lanes) {
      reaped += one->reap(out + reaped, max_count - reaped);
    }
  }
  if (next_ns != nullptr) *next_ns = next_look_ns(self, now_ns);
  return reaped;
}

/// Looks without taking anything.
bool reapable(instance &self) {
  if (!self.refused.empty()) return true;
  const in_context here = self.gpu.enter();
  return std::any_of(self.lanes.begin(), self.lanes.end(),
                     [](lane *one) { return one->is_first_over(); });
}

int32_t wait(cubby_backend *backend, uint64_t timeout_ns, int wake_fd) {
  instance &self = of(backend);
  const uint64_t start_ns = monotonic_ns();
  for (;;) {
    if (reapable(self)) return 0;
    const uint64_t here_ns = monotonic_ns();
    const uint64_t spent_ns = here_ns - start_ns;
    if (timeout_ns != never_ns && spent_ns >= timeout_ns) return 0;
    const uint64_t left_ns = timeout_ns == never_ns ? never_ns : timeout_ns - spent_ns;
    const uint64_t look_ns = next_look_ns(self, here_ns);
    const uint64_t nap_ns = look_ns == never_ns ? left_ns : std::min(left_ns, look_ns - here_ns);
    if (const int32_t error = poll_readable(-1, wake_fd, nap_ns); error != 0) return error;
    pollfd woken{wake_fd, POLLIN, 0};
    if (wake_fd >= 0 && ::poll(&woken, 1, 0) > 0) return 0;
  }
}

int32_t wait_for(instance &self, const lane &copies, uint64_t stream_handle) {
  if (self.gpu.lost()) return -ENODEV;
  if (copies.has_failed() || !self.refused.empty()) return -EAGAIN;
  const driver_table &driver = self.gpu.driver();
  const in_context here = self.gpu.enter();
  // Another thread calls for the one that pinned, and would wait in a stream of its own.
  if (stream_handle == per_thread_stream) return -ENOTSUP;
  stream waits = stream_of(stream_handle);
  if (is_captured(driver, waits)) return -ENOTSUP;
  status came = driver.event_record(self.order, copies.on());
  if (came == success) came = driver.stream_wait_event(waits, self.order, 0);
  if (came == invalid_handle || came == invalid_value) return -EINVAL;
  return -self.gpu.errno_of(came, "cuStreamWaitEvent");
}

int32_t stream_wait(cubby_backend *backend, uint64_t stream_handle) {
  return wait_for(of(backend), of(backend).in, stream_handle);
}

int32_t stream_wait_marked(cubby_backend *backend, uint64_t stream_handle) {
  return wait_for(of(backend), of(backend).marked_in, stream_handle);
}

int32_t mark_record(cubby_backend *backend, uint64_t stream_handle, uint64_t *mark) try {
  if (mark == nullptr) return -EINVAL;
  if (of(backend).gpu.lost()) return -ENODEV;
  return of(backend).stream_marks.record(stream_of(stream_handle), mark);
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

int32_t mark_passed(cubby_backend *backend, uint64_t mark) {
  return of(backend).stream_marks.passed(mark);
}

int32_t copies_from(cubby_backend *backend, int32_t device) {
  return of(backend).gpu.reads_from(device) ? 1 : 0;
}

const cubby_backend_ops operations = [] {
  cubby_backend_ops ops{};
  ops.struct_size = sizeof ops;
  ops.abi_version = CUBBY_BACKEND_ABI_VERSION;
  ops.name = "cuda";
  ops.capabilities = CUBBY_CAP_MEMORY | CUBBY_CAP_DEVICE_ADDRESSABLE;
  ops.open = open;
  ops.close = close;
  ops.describe = describe;
  ops.memory_reserve = memory_reserve;
  ops.memory_release = memory_release;
  ops.memory_register = memory_register;
  ops.memory_unregister = memory_unregister;
  ops.submit = submit;
  ops.reap = reap;
  ops.wait = wait;
  ops.memory_check = memory_check;
  ops.stream_wait = stream_wait;
  ops.mark_record = mark_record;
  ops.mark_passed = mark_passed;
  ops.stream_wait_marked = stream_wait_marked;
  ops.copies_from = copies_from;
  ops.memory_address = memory_address;
  return ops;
}();

}  // namespace
}  // namespace cubby_cuda

const cubby_backend_ops *cubby_cuda_backend() { return &cubby_cuda::operations; }
