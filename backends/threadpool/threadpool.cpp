#include "threadpool.hpp"

#include <pthread.h>
#include <sys/eventfd.h>

#include <condition_variable>
#include <csignal>
#include <mutex>
#include <system_error>
#include <thread>

#include "../common/files.hpp"

namespace cubby_threadpool {
namespace {
using namespace cubby_backends;

constexpr uint32_t depth_default = 64, depth_max = 4096, threads_max = 8;

// A ring of fixed size: no allocation, and so no failure, after open.
template <class T>
struct fixed_queue {
  std::vector<T> items;
  std::size_t head = 0, count = 0;
  void push(const T &item) { items[(head + count++) % items.size()] = item; }
  T pop() {
    T item = items[head];
    head = (head + 1) % items.size();
    --count;
    return item;
  }
};

int64_t call_kernel(const transfer &job) {
  ssize_t moved = 0;
  const auto offset = static_cast<off_t>(job.offset());
  if (job.io.op == CUBBY_BACKEND_READ) {
    moved = pread(job.fd(), job.address(), job.left(), offset);
  } else if (job.io.op == CUBBY_BACKEND_WRITE) {
    moved = pwrite(job.fd(), job.address(), job.left(), offset);
  } else {
    moved = fdatasync(job.fd());
  }
  return moved < 0 ? -errno : moved;
}

struct instance {
  cubby_backend_services services{};
  file_table files;
  int event = -1;
  std::mutex mutex;
  std::condition_variable work;
  fixed_queue<transfer> waiting;
  fixed_queue<cubby_backend_done> finished;
  std::size_t in_flight = 0;  // accepted and not reaped; at most waiting.items.size()
  bool stop = false;
  std::vector<std::thread> threads;

  instance() = default;
  instance(const instance &) = delete;
  instance &operator=(const instance &) = delete;
  ~instance() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
    }
    work.notify_all();
    for (std::thread &thread : threads) thread.join();
    if (event >= 0) ::close(event);
  }

  // With the mutex held. The descriptor is readable exactly while finished is not empty.
  void finish(const cubby_backend_done &done) {
    finished.push(done);
    if (finished.count == 1) eventfd_write(event, 1);
  }

  void run() {
    std::unique_lock lock(mutex);
    for (;;) {
      work.wait(lock, [this] { return stop || waiting.count != 0; });
      if (waiting.count == 0) return;
      transfer job = waiting.pop();
      lock.unlock();
      while (!job.idle() && !job.advance(call_kernel(job))) {
      }
      lock.lock();
      finish(job.done());
    }
  }

  // The host program's signals are not for these threads.
  void start_threads(uint32_t count) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    try {
      threads.reserve(count);
      while (threads.size() < count) threads.emplace_back([this] { run(); });
    } catch (...) {
      pthread_sigmask(SIG_SETMASK, &before, nullptr);
      if (threads.empty()) throw;  // fewer threads are slower, none is none
      return;
    }
    pthread_sigmask(SIG_SETMASK, &before, nullptr);
  }
};

instance &of(cubby_backend *backend) { return *reinterpret_cast<instance *>(backend); }

int32_t open_instance(instance &self, const cubby_backend_config &config) {
  const uint32_t asked = config.queue_depth == 0 ? depth_default : config.queue_depth;
  const uint32_t depth = std::min(asked, depth_max);
  self.waiting.items.resize(depth);
  self.finished.items.resize(depth);
  self.event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (self.event < 0) return -errno;
  self.start_threads(std::min(depth, threads_max));
  return 0;
}

int32_t open(const cubby_backend_services *services, const cubby_backend_config *config,
             cubby_backend **out) {
  if (services == nullptr || config == nullptr || out == nullptr) return -EINVAL;
  auto made = new (std::nothrow) instance;
  if (made == nullptr) return -ENOMEM;
  made->services = read_struct(*services);
  int32_t status = -ENOMEM;
  try {
    status = open_instance(*made, read_struct(*config));
  } catch (const std::system_error &) {
    status = -EAGAIN;
  } catch (const std::bad_alloc &) {
    status = -ENOMEM;
  }
  if (status == 0) {
    *out = reinterpret_cast<cubby_backend *>(made);
  } else {
    log_line(made->services, 0,
             status == -EMFILE || status == -ENFILE
                 ? "the thread pool could not be started: no descriptors are left; raise ulimit -n"
             : status == -ENOMEM
                 ? "the thread pool could not be started: no memory; raise ulimit -v"
                 : "the thread pool could not be started: too many threads, or no memory for their "
                   "stacks; raise ulimit -u or ulimit -v");
    delete made;
  }
  return status;
}

int32_t describe(cubby_backend *backend, cubby_backend_info *out) {
  const instance &self = of(backend);
  cubby_backend_info info{};
  info.capabilities = CUBBY_CAP_FILES | CUBBY_CAP_FILES_APART;
  info.align_bytes = file_align;
  info.queue_depth = static_cast<uint32_t>(self.waiting.items.size());
  info.io_bytes_max = file_io_bytes_max;
  set_text(info.io, "threadpool");
  set_text(info.why, self.files.refused_direct()
                         ? "pread and pwrite on threads; a file system refused O_DIRECT, so its "
                           "files go through the page cache; ext4, xfs or btrfs would allow it"
                         : "pread and pwrite with O_DIRECT on threads; io_uring costs less CPU "
                           "where it is built in and the kernel allows it");
  write_struct(info, out);
  return 0;
}

uint32_t submit(cubby_backend *backend, uint64_t, const cubby_backend_io *ios, uint32_t count) {
  instance &self = of(backend);
  uint32_t accepted = 0;
  {
    const std::lock_guard lock(self.mutex);
    for (; accepted < count && self.in_flight < self.waiting.items.size(); ++accepted) {
      transfer job;
      job.start(ios[accepted], self.files.find(ios[accepted].file));
      ++self.in_flight;
      if (job.idle()) {
        self.finish(job.done());
      } else {
        self.waiting.push(job);
      }
    }
  }
  self.work.notify_all();
  return accepted;
}

uint32_t reap(cubby_backend *backend, uint64_t, cubby_backend_done *out, uint32_t max_count,
              uint64_t *next_ns) {
  instance &self = of(backend);
  if (next_ns != nullptr) *next_ns = never_ns;
  const std::lock_guard lock(self.mutex);
  uint32_t reaped = 0;
  while (reaped < max_count && self.finished.count != 0) out[reaped++] = self.finished.pop();
  self.in_flight -= reaped;
  if (reaped != 0 && self.finished.count == 0) {
    eventfd_t ignored = 0;
    eventfd_read(self.event, &ignored);
  }
  return reaped;
}

int32_t wait(cubby_backend *backend, uint64_t timeout_ns, int wake_fd) {
  return poll_readable(of(backend).event, wake_fd, timeout_ns);
}

int event_fd(cubby_backend *backend) { return of(backend).event; }

const cubby_backend_ops operations = [] {
  cubby_backend_ops ops = file_operations<instance>::table("threadpool");
  ops.open = open;
  ops.describe = describe;
  ops.submit = submit;
  ops.reap = reap;
  ops.wait = wait;
  ops.event_fd = event_fd;
  return ops;
}();

}  // namespace
}  // namespace cubby_threadpool

const cubby_backend_ops *cubby_threadpool_backend() { return &cubby_threadpool::operations; }
