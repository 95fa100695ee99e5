#include "host.hpp"

#include <cmath>
#include <memory>
#include <new>
#include <vector>

#include "../common/common.hpp"
#include "streaming_copy.hpp"

namespace cubby_host {
namespace {
using namespace cubby_backends;

struct pending_copy {
  cubby_backend_done done;
  uint64_t due_ns;
};

// One way of the link, first in, first out: copies of one way end in order. A link carries both at
// its full speed, as PCIe does.
struct lane {
  std::vector<pending_copy> ring;
  uint64_t head = 0, count = 0;
  uint64_t free_ns = 0;

  const pending_copy &first() const { return ring[head]; }
  uint64_t next_ns() const { return count != 0 ? first().due_ns : never_ns; }
  void push(const pending_copy &copy) { ring[(head + count++) % ring.size()] = copy; }
  void pop() {
    head = (head + 1) % ring.size();
    --count;
  }
};

struct instance {
  cubby_backend_services services{};
  cubby_backend_config config{};
  lane in, out;

  lane &of(uint32_t op) { return op == CUBBY_BACKEND_COPY_OUT ? out : in; }
  uint64_t room() const { return in.ring.size() - in.count - out.count; }
  const lane &next() const { return out.next_ns() < in.next_ns() ? out : in; }

  bool emulated() const {
    return config.emulated_bytes_per_s != 0 || config.emulated_latency_ns != 0;
  }
};

instance &of(cubby_backend *backend) { return *reinterpret_cast<instance *>(backend); }

int32_t open(const cubby_backend_services *services, const cubby_backend_config *config,
             cubby_backend **out) try {
  if (services == nullptr || config == nullptr || out == nullptr) return -EINVAL;
  auto made = std::make_unique<instance>();
  made->services = read_struct(*services);
  made->config = read_struct(*config);
  made->config.name = nullptr;  // stands only during this call
  const std::size_t depth =
      made->config.queue_depth == 0 ? 256 : std::min(made->config.queue_depth, 65536u);
  for (lane *way : {&made->in, &made->out}) way->ring.resize(depth);
  *out = reinterpret_cast<cubby_backend *>(made.release());
  return 0;
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

void close(cubby_backend *backend) { delete &of(backend); }

int32_t describe(cubby_backend *backend, cubby_backend_info *out) {
  const instance &self = of(backend);
  cubby_backend_info info{};
  // Behind an emulated link files must not reach the frames directly, or the link would be passed
  // by.
  info.capabilities = CUBBY_CAP_MEMORY;
  if (!self.emulated()) info.capabilities |= CUBBY_CAP_HOST_ADDRESSABLE;
  info.align_bytes = 1;
  info.queue_depth = static_cast<uint32_t>(self.in.ring.size());
  info.io_bytes_max = never_ns;
  info.emulated = self.emulated() ? 1 : 0;
  set_text(info.io, "memcpy");
  set_text(info.why, self.emulated()
                         ? "emulated: host memory stands in for a device behind a link of the "
                           "configured latency and speed; a device backend would use a real one"
                         : "frames are host memory; copies run on the calling thread");
  write_struct(info, out);
  return 0;
}

int32_t memory_reserve(cubby_backend *backend, uint64_t bytes, cubby_backend_memory *out) {
  const instance &self = of(backend);
  if (self.services.memory_take == nullptr) return -ENOTSUP;
  return self.services.memory_take(self.services.context, bytes, self.config.numa_nodes, out);
}

void memory_release(cubby_backend *backend, const cubby_backend_memory *memory) {
  const instance &self = of(backend);
  if (self.services.memory_give != nullptr) {
    self.services.memory_give(self.services.context, memory);
  }
}

// When the link is done with these bytes. Bytes follow each other on their way; latencies overlap.
uint64_t due_ns(const instance &self, lane &way, uint64_t now_ns, uint64_t bytes) {
  uint64_t busy_ns = 0;
  if (self.config.emulated_bytes_per_s != 0) {
    const double speed = static_cast<double>(self.config.emulated_bytes_per_s);
    busy_ns = static_cast<uint64_t>(std::ceil(static_cast<double>(bytes) * 1e9 / speed));
  }
  way.free_ns = std::max(now_ns, way.free_ns) + busy_ns;
  return way.free_ns + self.config.emulated_latency_ns;
}

// The bytes are moved at once; an emulated link only holds the completion back.
pending_copy carry_out(instance &self, uint64_t now_ns, const cubby_backend_io &io) {
  const bool is_copy = io.op == CUBBY_BACKEND_COPY_IN || io.op == CUBBY_BACKEND_COPY_OUT;
  if (!is_copy || (io.bytes != 0 && (io.memory == nullptr || io.source == nullptr))) {
    return {{io.cookie, 0, EINVAL, 0}, now_ns};
  }
  if (io.bytes != 0) {
    if (self.emulated()) {
      streaming_copy(io.memory, io.source, io.bytes);
    } else {
      std::memcpy(io.memory, io.source, io.bytes);
    }
  }
  return {{io.cookie, io.bytes, 0, 0}, due_ns(self, self.of(io.op), now_ns, io.bytes)};
}

uint32_t submit(cubby_backend *backend, uint64_t now_ns, const cubby_backend_io *ios,
                uint32_t count) {
  instance &self = of(backend);
  uint32_t accepted = 0;
  for (; accepted < count && self.room() != 0; ++accepted) {
    self.of(ios[accepted].op).push(carry_out(self, now_ns, ios[accepted]));
  }
  return accepted;
}

uint32_t reap(cubby_backend *backend, uint64_t now_ns, cubby_backend_done *out, uint32_t max_count,
              uint64_t *next_ns) {
  instance &self = of(backend);
  uint32_t reaped = 0;
  for (lane *way : {&self.in, &self.out}) {
    while (reaped < max_count && way->count != 0 && way->first().due_ns <= now_ns) {
      out[reaped++] = way->first().done;
      way->pop();
    }
  }
  if (next_ns != nullptr) *next_ns = self.next().next_ns();
  return reaped;
}

int32_t wait(cubby_backend *backend, uint64_t timeout_ns, int wake_fd) {
  const instance &self = of(backend);
  if (const uint64_t due = self.next().next_ns(); due != never_ns) {
    const uint64_t now = self.services.now_ns != nullptr
                             ? self.services.now_ns(self.services.context)
                             : monotonic_ns();
    timeout_ns = std::min(timeout_ns, due > now ? due - now : 0);
  }
  return poll_readable(-1, wake_fd, timeout_ns);
}

const cubby_backend_ops operations = [] {
  cubby_backend_ops ops{};
  ops.struct_size = sizeof ops;
  ops.abi_version = CUBBY_BACKEND_ABI_VERSION;
  ops.name = "host";
  ops.capabilities = CUBBY_CAP_MEMORY | CUBBY_CAP_HOST_ADDRESSABLE;
  ops.open = open;
  ops.close = close;
  ops.describe = describe;
  ops.memory_reserve = memory_reserve;
  ops.memory_release = memory_release;
  ops.submit = submit;
  ops.reap = reap;
  ops.wait = wait;
  return ops;
}();

}  // namespace
}  // namespace cubby_host

const cubby_backend_ops *cubby_host_backend() { return &cubby_host::operations; }
