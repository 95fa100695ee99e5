// "sim-file": files on a disk that lies.
#include <new>

#include "sim/in_flight.hpp"
#include "sim/sim.hpp"

namespace cubby_sim {
namespace {
using namespace cubby_backends;

enum class lie : uint32_t { none, error, short_read, flip, misdirected, stale };

/// What will come of one I/O, decided when it is submitted.
struct file_plan {
  lie what = lie::none;
  int32_t error = 0;
  // By `what`: bytes that a short read reports, the bit flipped, the offset read instead, the stale
  // block. Of a flush: the watcher's mark.
  uint64_t at = 0;
};

struct open_file {
  std::shared_ptr<disk_file> file;
  uint32_t flags = 0;
};

struct instance {
  explicit instance(const cubby_backend_config &config)
      : sim(config.user),
        link(sim->options().file),
        flying(*sim, config.queue_depth == 0 ? 32 : std::min(config.queue_depth, 65536u)) {}

  open_file *find(uint32_t number) {
    if (number == 0 || number > files.size() || files[number - 1].file == nullptr) return nullptr;
    return &files[number - 1];
  }

  home sim;
  channel link;
  in_flight<file_plan> flying;
  std::vector<open_file> files;
};

instance &of(cubby_backend *backend) { return *reinterpret_cast<instance *>(backend); }

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
  cubby_backend_info info{};
  info.capabilities = CUBBY_CAP_FILES | CUBBY_CAP_VIRTUAL_CLOCK;
  info.align_bytes = static_cast<uint32_t>(block_bytes);
  info.queue_depth = of(backend).flying.depth();
  info.io_bytes_max = uint64_t{2} << 20;
  set_text(info.io, "simulated");
  set_text(info.why,
           "a virtual disk with seeded latency and faults; for simulation and tests only");
  write_struct(info, out);
  return 0;
}

int32_t fill_identity(const open_file &open, uint32_t number, cubby_backend_file *out) {
  const file_identity seen = open.file->identity();
  cubby_backend_file value{};
  value.file = number;
  value.direct = 1;
  value.bytes = seen.bytes;
  value.device = seen.device;
  value.inode = seen.inode;
  value.mtime_ns = seen.mtime_ns;
  write_struct(value, out);
  return 0;
}

int32_t file_open(cubby_backend *backend, const char *path, uint32_t flags,
                  cubby_backend_file *out) try {
  const uint32_t both = CUBBY_BACKEND_FILE_READ | CUBBY_BACKEND_FILE_WRITE;
  if (path == nullptr || out == nullptr || (flags & both) == 0) return -EINVAL;
  instance &self = of(backend);
  int error = 0;
  auto file = self.sim->open(path, (flags & CUBBY_BACKEND_FILE_CREATE) != 0, &error);
  if (file == nullptr) return -error;
  uint32_t number = 1;
  while (self.find(number) != nullptr) ++number;
  if (number > self.files.size()) self.files.resize(number);
  self.files[number - 1] = {std::move(file), flags};
  return fill_identity(self.files[number - 1], number, out);
} catch (const std::bad_alloc &) {
  return -ENOMEM;
}

int32_t file_stat(cubby_backend *backend, uint32_t file, cubby_backend_file *out) {
  const open_file *open = of(backend).find(file);
  return open == nullptr ? -EBADF : fill_identity(*open, file, out);
}

void file_close(cubby_backend *backend, uint32_t file) {
  open_file *open = of(backend).find(file);
  if (open != nullptr) *open = {};
}

bool is_aligned(const cubby_backend_io &io) {
  return io.offset_bytes % block_bytes == 0 && io.bytes % block_bytes == 0 &&
         reinterpret_cast<uintptr_t>(io.memory) % block_bytes == 0 &&
         (io.memory != nullptr || io.bytes == 0) && io.bytes <= (uint64_t{2} << 20) &&
         io.offset_bytes <= static_cast<uint64_t>(INT64_MAX) / 2;
}

int32_t wrong_from_the_start(const cubby_backend_io &io, const open_file *file) {
  if (io.op > CUBBY_BACKEND_FLUSH) return EINVAL;
  if (file == nullptr) return EBADF;
  const bool reads = io.op == CUBBY_BACKEND_READ;
  const uint32_t needs = reads ? CUBBY_BACKEND_FILE_READ : CUBBY_BACKEND_FILE_WRITE;
  if (io.op != CUBBY_BACKEND_FLUSH && (file->flags & needs) == 0) return EBADF;
  if (io.op != CUBBY_BACKEND_FLUSH && !is_aligned(io)) return EINVAL;
  return 0;
}

/// Faults that only reads have, most visible first; at most one.
file_plan plan_of_read(world &sim, const cubby_backend_io &io, disk_file &file) {
  const std::string &path = file.path();
  const uint64_t offset = io.offset_bytes, bytes = io.bytes;
  const uint64_t end = file.identity().bytes;
  if (offset >= end || bytes == 0) return {};
  const uint64_t there = std::min(bytes, end - offset);
  if (sim.strikes(fault::short_read, path, offset, bytes)) {
    return {lie::short_read, 0, sim.random().below(there)};
  }
  if (sim.rots(file, offset, there)) return {};
  if (sim.strikes(fault::flip_transit, path, offset, bytes)) {
    return {lie::flip, 0, sim.random().below(there * 8)};
  }
  if (sim.strikes(fault::misdirected, path, offset, bytes)) {
    const uint64_t blocks = (end + block_bytes - 1) / block_bytes;
    const uint64_t shift = blocks < 2 ? 0 : 1 + sim.random().below(blocks - 1);
    return {lie::misdirected, 0, (offset / block_bytes + shift) % blocks * block_bytes};
  }
  if (sim.strikes(fault::stale_block, path, offset, bytes)) {
    const uint64_t blocks = (there + block_bytes - 1) / block_bytes;
    return {lie::stale, 0, offset / block_bytes + sim.random().below(blocks)};
  }
  return {};
}

file_plan plan_of(world &sim, const cubby_backend_io &io, disk_file &file) {
  const std::string &path = file.path();
  if (sim.is_sticky(path, io.offset_bytes, io.bytes)) {
    sim.struck(fault::eio_sticky, path, io.offset_bytes, io.bytes);
    return {lie::error, EIO, 0};
  }
  if (sim.strikes(fault::eio_sticky, path, io.offset_bytes, io.bytes)) {
    sim.make_sticky(path, io.offset_bytes, io.bytes);
    return {lie::error, EIO, 0};
  }
  if (sim.strikes(fault::eio_transient, path, io.offset_bytes, io.bytes)) {
    return {lie::error, EIO, 0};
  }
  return io.op == CUBBY_BACKEND_READ ? plan_of_read(sim, io, file) : file_plan{};
}

void begin_for_watcher(world &sim, const cubby_backend_io &io, const std::string &path,
                       file_plan &plan) {
  if (sim.writes == nullptr) return;
  if (io.op == CUBBY_BACKEND_WRITE) sim.writes->write_begins(path, io);
  if (io.op == CUBBY_BACKEND_FLUSH) plan.at = sim.writes->flush_begins(path);
}

void end_for_watcher(world &sim, const cubby_backend_io &io, const std::string &path,
                     const file_plan &plan, bool failed) {
  if (sim.writes == nullptr) return;
  if (io.op == CUBBY_BACKEND_WRITE) sim.writes->write_ends(path, io, failed);
  if (io.op == CUBBY_BACKEND_FLUSH) sim.writes->flush_ends(path, plan.at, failed);
}

uint32_t submit(cubby_backend *backend, uint64_t now_ns, const cubby_backend_io *ios,
                uint32_t count) {
  instance &self = of(backend);
  uint32_t accepted = 0;
  for (; accepted < count && !self.flying.full(); ++accepted) {
    const cubby_backend_io &io = ios[accepted];
    open_file *file = self.find(io.file);
    file_plan plan;
    plan.error = wrong_from_the_start(io, file);
    if (plan.error != 0) {
      plan.what = lie::error;
    } else {
      plan = plan_of(*self.sim, io, *file->file);
      if (io.op == CUBBY_BACKEND_READ) fill_with_noise(io.memory, io.bytes, io.cookie);
      begin_for_watcher(*self.sim, io, file->file->path(), plan);
    }
    const uint64_t due = self.link.due_ns(self.sim->random(), now_ns, io.bytes);
    static const std::string nowhere;
    self.flying.add(io, plan, now_ns, due, file == nullptr ? nowhere : file->file->path());
  }
  return accepted;
}

uint64_t carry_out_read(const file_plan &plan, const cubby_backend_io &io, const disk_file &file) {
  auto to = static_cast<unsigned char *>(io.memory);
  const uint64_t from = plan.what == lie::misdirected ? plan.at : io.offset_bytes;
  uint64_t got = file.read(from, to, io.bytes);
  file.apply_rot(from, to, got);
  if (plan.what == lie::misdirected) {
    // The disk says it has read all that the right place holds.
    const uint64_t end = file.identity().bytes;
    got = io.offset_bytes >= end ? 0 : std::min(io.bytes, end - io.offset_bytes);
  } else if (plan.what == lie::flip && plan.at / 8 < got) {
    to[plan.at / 8] ^= static_cast<unsigned char>(1u << (plan.at % 8));
  } else if (plan.what == lie::stale) {
    unsigned char old[block_bytes];
    file.read_older(plan.at, old);
    const uint64_t skip = plan.at * block_bytes - io.offset_bytes;
    if (skip < got) std::memcpy(to + skip, old, std::min(block_bytes, got - skip));
  } else if (plan.what == lie::short_read) {
    got = std::min(got, plan.at);
    fill_with_noise(to + got, io.bytes - got, io.cookie);
  }
  return got;
}

cubby_backend_done carry_out(instance &self, const in_flight<file_plan>::entry &entry,
                             uint64_t now_ns) {
  cubby_backend_done done{entry.io.cookie, 0, entry.what.error, 0};
  open_file *file = self.find(entry.io.file);
  if (done.error != 0) return done;
  if (file == nullptr) {
    done.error = EBADF;
  } else if (entry.io.op == CUBBY_BACKEND_READ) {
    done.bytes = carry_out_read(entry.what, entry.io, *file->file);
    self.sim->note_landed(entry.io.memory, done.bytes);
  } else if (entry.io.op == CUBBY_BACKEND_WRITE) {
    const bool wrote =
        file->file->write(entry.io.offset_bytes, entry.io.memory, entry.io.bytes, now_ns);
    done.bytes = wrote ? entry.io.bytes : 0;
    done.error = wrote ? 0 : EIO;
  }
  return done;
}

uint32_t reap(cubby_backend *backend, uint64_t now_ns, cubby_backend_done *out, uint32_t max_count,
              uint64_t *next_ns) {
  instance &self = of(backend);
  uint32_t reaped = 0;
  in_flight<file_plan>::entry entry;
  while (reaped < max_count && self.flying.take_due(now_ns, entry)) {
    out[reaped] = carry_out(self, entry, now_ns);
    const bool failed = out[reaped++].error != 0;
    if (const open_file *file = self.find(entry.io.file); file != nullptr)
      end_for_watcher(*self.sim, entry.io, file->file->path(), entry.what, failed);
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
  ops.name = "sim-file";
  ops.capabilities = CUBBY_CAP_FILES | CUBBY_CAP_VIRTUAL_CLOCK;
  ops.open = open;
  ops.close = close;
  ops.describe = describe;
  ops.file_open = file_open;
  ops.file_stat = file_stat;
  ops.file_close = file_close;
  ops.submit = submit;
  ops.reap = reap;
  ops.wait = wait;
  return ops;
}();

}  // namespace
}  // namespace cubby_sim

const cubby_backend_ops *cubby_sim_file_backend() { return &cubby_sim::operations; }
