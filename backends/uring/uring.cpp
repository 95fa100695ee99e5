#include "uring.hpp"

#include <liburing.h>

#include "../common/files.hpp"

// Tests that need a kernel which refuses submissions put their own function here.
#ifndef CUBBY_URING_SUBMIT
#define CUBBY_URING_SUBMIT io_uring_submit
#endif

namespace cubby_uring {
namespace {
using namespace cubby_backends;

constexpr uint32_t depth_default = 128, depth_max = 4096;
constexpr uint64_t retry_ns = 1'000'000;
constexpr uint32_t tries_max = 1000;  // of a submission the kernel refuses, about 1 s
constexpr uint32_t files_registered_max = 1024;
constexpr uint32_t regions_max = 1024;
constexpr uint64_t region_bytes_max = uint64_t{1} << 30;  // the kernel's limit of one buffer

// A piece of registered memory; its place in the vector is its index in the kernel's table.
struct region {
  uint64_t base = 0, bytes = 0;
};

struct instance {
  cubby_backend_services services{};
  file_table files;
  io_uring ring{};
  bool ring_open = false;
  std::vector<transfer> slots;  // accepted I/Os; never more than the completion queue holds
  std::vector<uint32_t> unused;
  std::vector<uint32_t> queued;  // slots that wait for room in the submission queue
  std::vector<uint32_t> failed;  // slots whose I/O the kernel would not take
  uint32_t tries = 0;            // refused submissions in a row
  int32_t refusal = 0;           // the last one's errno
  uint32_t files_registered = 0;
  std::vector<bool> files_known;  // those whose descriptors the table has
  std::vector<region> regions;
  std::size_t regions_used = 0;
  std::size_t regions_end = 0;  // no piece has a higher index
  int32_t buffers_error = 0;    // why buffers are not registered, a positive errno
  bool refusal_said = false;

  instance() = default;
  instance(const instance &) = delete;
  instance &operator=(const instance &) = delete;
  ~instance() {
    if (!ring_open) return;
    closed_in_children::remove(ring.ring_fd);
    io_uring_queue_exit(&ring);
  }

  // Two entries of the kernel's table a file: the direct descriptor and the buffered one. They are
  // made with its first I/O: files are opened beside what goes on in the ring.
  void register_file(uint32_t file) {
    if (file == 0 || file > files_known.size() || files_known[file - 1]) return;
    const auto slot = files.find(file);
    if (!slot) return;
    files_known[file - 1] = true;
    const int fds[2] = {slot->direct, slot->buffered};
    if (io_uring_register_files_update(&ring, (file - 1) * 2, fds, 2) != 2) drop_files();
  }
  void closing(uint32_t file) {
    if (file == 0 || file > files_known.size() || !files_known[file - 1]) return;
    files_known[file - 1] = false;
    const int none[2] = {-1, -1};
    if (io_uring_register_files_update(&ring, (file - 1) * 2, none, 2) != 2) drop_files();
  }
  // The table no longer says the truth, so nothing may name it.
  void drop_files() {
    files_registered = 0;
    files_known.clear();
    io_uring_unregister_files(&ring);
  }

  // The index of the registered piece that holds all of this memory, or -1.
  int find_region(const void *memory, uint64_t bytes) const {
    if (regions_used == 0) return -1;
    const auto first = reinterpret_cast<uint64_t>(memory);
    for (std::size_t i = 0; i < regions_end; ++i) {
      const region &one = regions[i];
      const bool holds = first >= one.base && first - one.base < one.bytes;
      if (holds) return bytes <= one.bytes - (first - one.base) ? static_cast<int>(i) : -1;
    }
    return -1;
  }

  void prepare(io_uring_sqe *sqe, uint32_t slot) {
    const transfer &job = slots[slot];
    const auto bytes = static_cast<unsigned>(job.left());
    const int buffer = find_region(job.address(), job.left());
    const bool idle = job.idle();
    if (idle) {
      io_uring_prep_nop(sqe);  // also an I/O wrong from the start makes the ring's descriptor ready
    } else if (job.io.op == CUBBY_BACKEND_FLUSH) {
      io_uring_prep_fsync(sqe, job.fd(), IORING_FSYNC_DATASYNC);
    } else if (job.io.op == CUBBY_BACKEND_READ && buffer >= 0) {
      io_uring_prep_read_fixed(sqe, job.fd(), job.address(), bytes, job.offset(), buffer);
    } else if (job.io.op == CUBBY_BACKEND_READ) {
      io_uring_prep_read(sqe, job.fd(), job.address(), bytes, job.offset());
    } else if (buffer >= 0) {
      io_uring_prep_write_fixed(sqe, job.fd(), job.address(), bytes, job.offset(), buffer);
    } else {
      io_uring_prep_write(sqe, job.fd(), job.address(), bytes, job.offset());
    }
    if (!idle && uint64_t{job.io.file} * 2 <= files_registered) {
      sqe->fd = static_cast<int>((job.io.file - 1) * 2 + (job.is_direct() ? 0 : 1));
      sqe->flags |= IOSQE_FIXED_FILE;
    }
    sqe->user_data = slot;
  }

  void queue(uint32_t slot) { queued.push_back(slot); }

  // False when the kernel did not take everything; what is left is offered again by the next call.
  bool push() {
    for (;;) {
      std::size_t placed = 0;
      while (placed < queued.size()) {
        io_uring_sqe *sqe = io_uring_get_sqe(&ring);
        if (sqe == nullptr) break;
        prepare(sqe, queued[placed++]);
      }
      queued.erase(queued.begin(), queued.begin() + static_cast<std::ptrdiff_t>(placed));
      if (io_uring_sq_ready(&ring) == 0) return true;
      const int taken = CUBBY_URING_SUBMIT(&ring);
      if (taken == -EINTR) continue;
      if (taken <= 0) {
        ++tries;
        refusal = taken < 0 ? -taken : EAGAIN;
        return false;
      }
      tries = 0;
    }
  }

  // A kernel that goes on refusing: take back what it has not seen and let it complete with the
  // error. Without a polling kernel thread the queue's tail is only read inside a submission.
  void give_up() {
    const unsigned head = *ring.sq.khead;
    for (unsigned at = head; at != ring.sq.sqe_tail; ++at) {
      failed.push_back(static_cast<uint32_t>(ring.sq.sqes[at & *ring.sq.kring_mask].user_data));
    }
    ring.sq.sqe_head = ring.sq.sqe_tail = head;
    *ring.sq.ktail = head;
    failed.insert(failed.end(), queued.begin(), queued.end());
    queued.clear();
    for (const uint32_t slot : failed) slots[slot].error = refusal;
    tries = 0;
  }
};

instance &of(cubby_backend *backend) { return *reinterpret_cast<instance *>(backend); }

void make_slots(instance &self, uint32_t count) {
  self.slots.resize(count);
  self.queued.reserve(count);
  self.failed.reserve(count);
  self.unused.clear();
  for (uint32_t i = count; i > 0; --i) self.unused.push_back(i - 1);
}

// Empty tables, filled as files and memory become known. A kernel that refuses costs speed only.
void register_tables(instance &self) {
  if (io_uring_register_files_sparse(&self.ring, files_registered_max * 2) == 0) {
    self.files_registered = files_registered_max * 2;
    self.files_known.resize(files_registered_max);
  }
  const int status = io_uring_register_buffers_sparse(&self.ring, regions_max);
  if (status == 0) self.regions.resize(regions_max);
  self.buffers_error = -status;
}

int32_t open_ring(instance &self, uint32_t depth) {
  io_uring_params params{};
  params.flags = IORING_SETUP_CLAMP;
  int status = io_uring_queue_init_params(depth, &self.ring, &params);
  if (status != 0) return status;
  self.ring_open = true;
  // The ring has files registered, and a child would have them open by it.
  if ((status = io_uring_ring_dontfork(&self.ring)) != 0) return status;
  if (!closed_in_children::add(self.ring.ring_fd)) return -ENOMEM;
  depth = std::min({depth, params.sq_entries, params.cq_entries});
  io_uring_probe *probe = io_uring_get_probe_ring(&self.ring);
  if (probe == nullptr) return -ENOSYS;
  for (const int op : {IORING_OP_NOP, IORING_OP_READ, IORING_OP_WRITE, IORING_OP_FSYNC}) {
    if (io_uring_opcode_supported(probe, op) == 0) status = -ENOSYS;
  }
  io_uring_free_probe(probe);
  make_slots(self, depth);
  register_tables(self);
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

int32_t describe(cubby_backend *backend, cubby_backend_info *out) {
  const instance &self = of(backend);
  cubby_backend_info info{};
  info.capabilities = CUBBY_CAP_FILES | CUBBY_CAP_FILES_APART;
  info.align_bytes = file_align;
  info.queue_depth = static_cast<uint32_t>(self.slots.size());
  info.io_bytes_max = file_io_bytes_max;
  info.registered = self.files_registered != 0 && self.regions_used != 0 && self.buffers_error == 0;
  set_text(info.io, "io_uring");
  const char *why = "io_uring with O_DIRECT; no memory has been registered with it yet";
  if (self.files.refused_direct()) {
    why =
        "io_uring works; a file system refused O_DIRECT, so its files go through the page cache; "
        "ext4, xfs or btrfs would allow it";
  } else if (self.buffers_error == ENOMEM || self.buffers_error == EPERM) {
    why =
        "io_uring with O_DIRECT; memory could not be registered with it, the locked memory limit "
        "is too small; raise it with ulimit -l";
  } else if (self.buffers_error != 0) {
    why = "io_uring with O_DIRECT; the kernel refuses registered buffers; Linux 5.19 has them";
  } else if (self.files_registered == 0) {
    why = "io_uring with O_DIRECT; the kernel refuses registered files; Linux 5.19 has them";
  } else if (info.registered != 0) {
    why = "io_uring with O_DIRECT, registered files and registered buffers";
  }
  set_text(info.why, why);
  write_struct(info, out);
  return 0;
}

void memory_unregister(cubby_backend *backend, void *base, uint64_t bytes) {
  instance &self = of(backend);
  const auto first = reinterpret_cast<uint64_t>(base);
  for (std::size_t i = 0; i < self.regions.size(); ++i) {
    region &one = self.regions[i];
    if (one.bytes == 0 || one.base < first || one.base - first >= bytes) continue;
    const iovec none{nullptr, 0};
    const __u64 tag = 0;
    io_uring_register_buffers_update_tag(&self.ring, static_cast<unsigned>(i), &none, &tag, 1);
    one = region{};
    --self.regions_used;
  }
}

int32_t refuse_memory(instance &self, int32_t status) {
  if (self.buffers_error == 0) self.buffers_error = -status;
  char text[200];
  std::snprintf(text, sizeof text,
                "memory could not be registered with io_uring (errno %d); reads go on, a little "
                "slower; %s",
                -status,
                status == -ENOMEM || status == -EPERM ? "raise the locked memory limit, ulimit -l"
                                                      : "a kernel from 5.19 on allows it");
  if (!self.refusal_said) log_line(self.services, 1, text);
  self.refusal_said = true;
  return status;
}

int32_t memory_register(cubby_backend *backend, void *base, uint64_t bytes) {
  instance &self = of(backend);
  if (base == nullptr || bytes == 0) return -EINVAL;
  if (self.regions.empty()) return refuse_memory(self, -std::max(self.buffers_error, 1));
  for (uint64_t done = 0; done < bytes;) {
    const uint64_t piece = std::min(bytes - done, region_bytes_max);
    std::size_t at = 0;
    while (at < self.regions.size() && self.regions[at].bytes != 0) ++at;
    char *first = static_cast<char *>(base) + done;
    const iovec memory{first, piece};
    const __u64 tag = 0;
    int status = -ENOSPC;
    if (at < self.regions.size()) {
      status = io_uring_register_buffers_update_tag(&self.ring, static_cast<unsigned>(at), &memory,
                                                    &tag, 1);
    }
    if (status != 1) {  // all of it or nothing
      memory_unregister(backend, base, done);
      return refuse_memory(self, status < 0 ? status : -EINVAL);
    }
    self.regions[at] = {reinterpret_cast<uint64_t>(first), piece};
    ++self.regions_used;
    self.regions_end = std::max(self.regions_end, at + 1);
    done += piece;
  }
  return 0;
}

uint32_t submit(cubby_backend *backend, uint64_t, const cubby_backend_io *ios, uint32_t count) {
  instance &self = of(backend);
  uint32_t accepted = 0;
  std::optional<file_slot> file;  // of the I/O before: mostly they are of one
  for (; accepted < count && !self.unused.empty(); ++accepted) {
    const cubby_backend_io &io = ios[accepted];
    const uint32_t slot = self.unused.back();
    self.unused.pop_back();
    if (accepted == 0 || io.file != ios[accepted - 1].file) {
      self.register_file(io.file);
      file = self.files.find(io.file);
    }
    self.slots[slot].start(io, file);
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
  // Given up here only: until then next_ns brings the caller back, and nothing else would.
  const bool all_taken = self.push();
  if (!all_taken && self.tries >= tries_max) self.give_up();
  while (reaped < max_count && !self.failed.empty()) {
    const uint32_t slot = self.failed.back();
    self.failed.pop_back();
    out[reaped++] = self.slots[slot].done();
    self.unused.push_back(slot);
  }
  if (next_ns != nullptr) {
    *next_ns = all_taken ? never_ns : now_ns + retry_ns;
    if (!self.failed.empty()) *next_ns = now_ns;
  }
  return reaped;
}

int32_t wait(cubby_backend *backend, uint64_t timeout_ns, int wake_fd) {
  instance &self = of(backend);
  if (!self.failed.empty()) return 0;
  if (!self.push()) timeout_ns = std::min(timeout_ns, retry_ns);
  return poll_readable(self.ring.ring_fd, wake_fd, timeout_ns);
}

int event_fd(cubby_backend *backend) { return of(backend).ring.ring_fd; }

const cubby_backend_ops operations = [] {
  cubby_backend_ops ops = file_operations<instance>::table("uring");
  ops.open = open;
  ops.describe = describe;
  ops.memory_register = memory_register;
  ops.memory_unregister = memory_unregister;
  ops.submit = submit;
  ops.reap = reap;
  ops.wait = wait;
  ops.event_fd = event_fd;
  return ops;
}();

}  // namespace
}  // namespace cubby_uring

const cubby_backend_ops *cubby_uring_backend() { return &cubby_uring::operations; }
