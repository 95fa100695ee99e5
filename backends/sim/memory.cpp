// "sim-memory": frames behind a copy engine that fails. With an emulated link in its config it is a
// device, whose frames files do not reach.
#include <new>

#include "sim/in_flight.hpp"
#include "sim/sim.hpp"

namespace cubby_sim {
namespace {
using namespace cubby_backends;

struct copy_plan {
  int32_t error = 0;
  bool flips = false;
  uint64_t bit = 0;
};

struct instance {
  explicit instance(const cubby_backend_config &config)
      : sim(config.user),
        emulated(config.emulated_bytes_per_s != 0 || config.emulated_latency_ns != 0),
        link(speed_of(config)),
        flying(*sim, config.queue_depth == 0 ? 64 : std::min(config.queue_depth, 65536u)) {}

  link_speed speed_of(const cubby_backend_config &config) const {
    link_speed speed = sim->options().copy;
    if (emulated) {
      speed.latency_ns = config.emulated_latency_ns;
      speed.bytes_per_s = config.emulated_bytes_per_s;
    }
    return speed;
  }

  home sim;
  bool emulated;
  channel link;
  in_flight<copy_plan> flying;
};

instance &of(cubby_backend *backend) { return *reinterpret_cast<instance *>(backend); }
const std::string no_path;

int32_t open(const cubby_backend_services *services, const cubby_backend_config *config,
             cubby_backend **out) try {
  if (services == nullptr || config == nullptr || out == nullptr) return -EINVAL;
  *out = reinterpret_cast<cubby_backend *>(new instance(read_struct(*config)));
  return 0;
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

void close(cubby_backend *backend) { delete &of(backend); }

int32_t describe(cubby_backend *backend, cubby_backend_info *out) {
  const instance &self = of(backend);
  cubby_backend_info info{};
  info.capabilities = CUBBY_CAP_MEMORY | CUBBY_CAP_VIRTUAL_CLOCK;
  if (!self.emulated) info.capabilities |= CUBBY_CAP_HOST_ADDRESSABLE;
  info.align_bytes = 1;
  info.queue_depth = self.flying.depth();
  info.io_bytes_max = never_ns;
  info.emulated = self.emulated ? 1 : 0;
  set_text(info.io, "simulated");
  set_text(info.why, "memory of a simulated world; for simulation and tests only");
  write_struct(info, out);
  return 0;
}

int32_t memory_reserve(cubby_backend *backend, uint64_t bytes, cubby_backend_memory *out) try {
  const instance &self = of(backend);
  if (bytes == 0 || out == nullptr) return -EINVAL;
  if (self.sim->strikes(fault::reserve_failure, no_path, 0, bytes)) return -ENOMEM;
  void *base = self.sim->memory().take(bytes);
  if (base == nullptr) return -ENOMEM;
  cubby_backend_memory value{};
  value.base = base;
  value.bytes = bytes;
  write_struct(value, out);
  return 0;
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

void memory_release(cubby_backend *backend, const cubby_backend_memory *memory) {
  of(backend).sim->release_memory(memory->base, memory->bytes);
}

copy_plan plan_of(world &sim, const cubby_backend_io &io) {
  copy_plan plan;
  const bool is_copy = io.op == CUBBY_BACKEND_COPY_IN || io.op == CUBBY_BACKEND_COPY_OUT;
  if (!is_copy || (io.bytes != 0 && (io.memory == nullptr || io.source == nullptr))) {
    plan.error = EINVAL;
    return plan;
  }
  if (io.bytes == 0) return plan;
  if (sim.strikes(fault::copy_failure, no_path, 0, io.bytes)) {
    plan.error = EIO;
  } else if (sim.strikes(fault::copy_flip, no_path, 0, io.bytes)) {
    plan.flips = true;
    plan.bit = sim.random().below(io.bytes * 8);
  } else if (sim.memory().holds(io.source) &&
             sim.strikes(fault::frame_flip, no_path, 0, io.bytes)) {
    // What a copy reads is a frame of this world or of its neighbour, never the program's own data.
    auto at = static_cast<const unsigned char *>(io.source) + sim.random().below(io.bytes);
    *const_cast<unsigned char *>(at) ^= static_cast<unsigned char>(1u << sim.random().below(8));
  }
  return plan;
}

uint32_t submit(cubby_backend *backend, uint64_t now_ns, const cubby_backend_io *ios,
                uint32_t count) {
  instance &self = of(backend);
  uint32_t accepted = 0;
  for (; accepted < count && !self.flying.full(); ++accepted) {
    const cubby_backend_io &io = ios[accepted];
    const copy_plan plan = plan_of(*self.sim, io);
    if (plan.error != EINVAL && io.bytes != 0) fill_with_noise(io.memory, io.bytes, io.cookie);
    const uint64_t bytes = plan.error == EINVAL ? 0 : io.bytes;
    const uint64_t due = self.link.due_ns(self.sim->random(), now_ns, bytes);
    self.flying.add(io, plan, now_ns, due, no_path);
  }
  return accepted;
}

cubby_backend_done carry_out(const in_flight<copy_plan>::entry &entry) {
  const cubby_backend_io &io = entry.io;
  cubby_backend_done done{io.cookie, 0, entry.what.error, 0};
  if (done.error == EINVAL || io.bytes == 0) return done;
  std::memcpy(io.memory, io.source, done.error == 0 ? io.bytes : io.bytes / 2);
  if (done.error != 0) return done;
  if (entry.what.flips) {
    static_cast<unsigned char *>(io.memory)[entry.what.bit / 8] ^=
        static_cast<unsigned char>(1u << (entry.what.bit % 8));
  }
  done.bytes = io.bytes;
  return done;
}

uint32_t reap(cubby_backend *backend, uint64_t now_ns, cubby_backend_done *out, uint32_t max_count,
              uint64_t *next_ns) {
  instance &self = of(backend);
  uint32_t reaped = 0;
  in_flight<copy_plan>::entry entry;
  while (reaped < max_count && self.flying.take_due(now_ns, entry)) {
    out[reaped++] = carry_out(entry);
  }
  if (next_ns != nullptr) *next_ns = self.flying.next_ns();
  return reaped;
}

int32_t wait(cubby_backend *backend, uint64_t timeout_ns, int wake_fd) {
  return of(backend).flying.wait(timeout_ns, wake_fd);
}

const cubby_backend_ops operations = [] {
  cubby_backend_ops ops{};
  ops.struct_size = sizeof ops;
  ops.abi_version = CUBBY_BACKEND_ABI_VERSION;
  ops.name = "sim-memory";
  ops.capabilities = CUBBY_CAP_MEMORY | CUBBY_CAP_HOST_ADDRESSABLE | CUBBY_CAP_VIRTUAL_CLOCK;
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
}  // namespace cubby_sim

const cubby_backend_ops *cubby_sim_memory_backend() { return &cubby_sim::operations; }
