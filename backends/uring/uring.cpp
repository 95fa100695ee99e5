#include "uring.hpp"

#include <liburing.h>

#include "../common/files.hpp"

namespace cubby_uring {
namespace {
using namespace cubby_backends;

constexpr uint32_t depth_default = 128, depth_max = 4096;
constexpr uint64_t retry_ns = 1'000'000;

struct instance {
  cubby_backend_services services{};
  file_table files;
  io_uring ring{};
  bool ring_open = false;
  std::vector<transfer> slots;  // accepted I/Os; never more than the completion queue holds
  std::vector<uint32_t> unused;

  instance() = default;
  instance(const instance &) = delete;
  instance &operator=(const instance &) = delete;
  ~instance() {
    if (ring_open) io_uring_queue_exit(&ring);
  }

  // There is always room: each slot has at most one entry in the submission queue.
  void queue(uint32_t slot) {
    const transfer &job = slots[slot];
    io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (job.idle()) {
      io_uring_prep_nop(sqe);  // also an I/O wrong from the start makes the ring's descriptor ready
    } else if (job.io.op == CUBBY_BACKEND_READ) {
      const auto bytes = static_cast<unsigned>(job.left());
      io_uring_prep_read(sqe, job.fd(), job.address(), bytes, job.offset());
    } else if (job.io.op == CUBBY_BACKEND_WRITE) {
      const auto bytes = static_cast<unsigned>(job.left());
      io_uring_prep_write(sqe, job.fd(), job.address(), bytes, job.offset());
    } else {
      io_uring_prep_fsync(sqe, job.fd(), IORING_FSYNC_DATASYNC);
    }
    sqe->user_data = slot;
  }

  // False when the kernel did not take everything; what is left is offered again by the next call.
  bool push() {
    for (;;) {
      if (io_uring_sq_ready(&ring) == 0) return true;
      const int taken = io_uring_submit(&ring);
      if (taken > 0 || taken == -EINTR) continue;
      return false;
    }
  }
};

instance &of(cubby_backend *backend) { return *reinterpret_cast<instance *>(backend); }

int32_t open_ring(instance &self, uint32_t depth) {
  io_uring_params params{};
  params.flags = IORING_SETUP_CLAMP;
  int status = io_uring_queue_init_params(depth, &self.ring, &params);
  if (status != 0) return status;
  self.ring_open = true;
  depth = std::min({depth, params.sq_entries, params.cq_entries});
  io_uring_probe *probe = io_uring_get_probe_ring(&self.ring);
  if (probe == nullptr) return -ENOSYS;
  for (const int op : {IORING_OP_NOP, IORING_OP_READ, IORING_OP_WRITE, IORING_OP_FSYNC}) {
    if (io_uring_opcode_supported(probe, op) == 0) status = -ENOSYS;
  }
  io_uring_free_probe(probe);
  self.slots.resize(depth);
  for (uint32_t i = depth; i > 0; --i) self.unused.push_back(i - 1);
  return status;
}

void explain(const cubby_backend_services &services, int32_t status) {
  if (status == -ENOSYS || status == -EPERM || status == -EACCES) {
    log_line(services, 1,
             "io_uring is blocked, likely by seccomp of the container runtime; allow "
             "io_uring_setup, io_uring_enter, io_uring_register, or kernel.io_uring_disabled=0; "
             "reads go through the thread pool");
    return;
  }
  char text[160];
  std::snprintf(text, sizeof text,
                "io_uring could not be set up (errno %d; 12 means: raise the locked memory limit, "
                "ulimit -l); reads go through the thread pool",
                -status);
  log_line(services, 1, text);
}

int32_t open(const cubby_backend_services *services, const cubby_backend_config *config,
             cubby_backend **out) {
  if (services == nullptr || config == nullptr || out == nullptr) return -EINVAL;
  auto made = new (std::nothrow) instance;
  if (made == nullptr) return -ENOMEM;
  made->services = read_struct(*services);
  const uint32_t asked = read_struct(*config).queue_depth;
  int32_t status = -ENOMEM;
  try {
    status = open_ring(*made, std::min(asked == 0 ? depth_default : asked, depth_max));
  } catch (const std::bad_alloc &) {
    status = -ENOMEM;
  }
  if (status == 0) {
    *out = reinterpret_cast<cubby_backend *>(made);
  } else {
    explain(made->services, status);
    delete made;
  }
  return status;
}

void close(cubby_backend *backend) { delete &of(backend); }

int32_t describe(cubby_backend *backend, cubby_backend_info *out) {
  const instance &self = of(backend);
  cubby_backend_info info{};
  info.capabilities = CUBBY_CAP_FILES;
  info.align_bytes = file_align;
  info.queue_depth = static_cast<uint32_t>(self.slots.size());
  info.io_bytes_max = file_io_bytes_max;
  set_text(info.io, "io_uring");
  set_text(info.why, self.files.refused_direct()
                         ? "io_uring works; a file system refused O_DIRECT, so its files go "
                           "through the page cache; ext4, xfs or btrfs would allow it"
                         : "io_uring with O_DIRECT; buffers are not registered");
  write_struct(info, out);
  return 0;
}

int32_t file_open(cubby_backend *backend, const char *path, uint32_t flags,
                  cubby_backend_file *out) {
  return of(backend).files.open(path, flags, out);
}

int32_t file_stat(cubby_backend *backend, uint32_t file, cubby_backend_file *out) {
  return of(backend).files.stat(file, out);
}

void file_close(cubby_backend *backend, uint32_t file) { of(backend).files.close(file); }

uint32_t submit(cubby_backend *backend, uint64_t, const cubby_backend_io *ios, uint32_t count) {
  instance &self = of(backend);
  uint32_t accepted = 0;
  for (; accepted < count && !self.unused.empty(); ++accepted) {
    const uint32_t slot = self.unused.back();
    self.unused.pop_back();
    self.slots[slot].start(ios[accepted], self.files);
    self.queue(slot);
  }
  self.push();
  return accepted;
}

uint32_t reap(cubby_backend *backend, uint64_t now_ns, cubby_backend_done *out, uint32_t max_count,
              uint64_t *next_ns) {
  instance &self = of(backend);
  // Completions that found the queue full wait in the kernel until somebody enters it.
  if (io_uring_cq_has_overflow(&self.ring)) io_uring_get_events(&self.ring);
  uint32_t reaped = 0;
  io_uring_cqe *cqe = nullptr;
  while (reaped < max_count && io_uring_peek_cqe(&self.ring, &cqe) == 0 && cqe != nullptr) {
    const auto slot = static_cast<uint32_t>(cqe->user_data);
    const int32_t result = cqe->res;
    io_uring_cqe_seen(&self.ring, cqe);  // the only place: each entry is advanced exactly once
    transfer &job = self.slots[slot];
    if (!job.idle() && !job.advance(result)) {
      self.queue(slot);
      continue;
    }
    out[reaped++] = job.done();
    self.unused.push_back(slot);
  }
  const bool all_taken = self.push();
  if (next_ns != nullptr) *next_ns = all_taken ? never_ns : now_ns + retry_ns;
  return reaped;
}

int32_t wait(cubby_backend *backend, uint64_t timeout_ns, int wake_fd) {
  instance &self = of(backend);
  if (!self.push()) timeout_ns = std::min(timeout_ns, retry_ns);
  return poll_readable(self.ring.ring_fd, wake_fd, timeout_ns);
}

int event_fd(cubby_backend *backend) { return of(backend).ring.ring_fd; }

const cubby_backend_ops operations = [] {
  cubby_backend_ops ops{};
  ops.struct_size = sizeof ops;
  ops.abi_version = CUBBY_BACKEND_ABI_VERSION;
  ops.name = "uring";
  ops.capabilities = CUBBY_CAP_FILES;
  ops.open = open;
  ops.close = close;
  ops.describe = describe;
  ops.file_open = file_open;
  ops.file_stat = file_stat;
  ops.file_close = file_close;
  ops.submit = submit;
  ops.reap = reap;
  ops.wait = wait;
  ops.event_fd = event_fd;
  return ops;
}();

}  // namespace
}  // namespace cubby_uring

const cubby_backend_ops *cubby_uring_backend() { return &cubby_uring::operations; }
