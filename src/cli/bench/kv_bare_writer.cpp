// What writing costs a loop that does nothing else.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "cli/bench/kv_sides.hpp"

#ifdef CUBBY_BENCH_RING
#include <liburing.h>
#endif

namespace cubby_cli::bench {
namespace {

/// As many as the library has in flight, and as large.
constexpr uint64_t piece_bytes = uint64_t{1} << 20;
constexpr uint32_t pieces_in_flight = 8;

}  // namespace

#ifdef CUBBY_BENCH_RING
struct bare_writer::ring {
  io_uring all{};
  ~ring() {
    if (all.ring_fd > 0) io_uring_queue_exit(&all);
  }
  int write(int fd, const char *from, uint64_t at, uint64_t bytes);
};

/// An errno, or 0.
int bare_writer::ring::write(int fd, const char *from, uint64_t at, uint64_t bytes) {
  uint64_t started = 0;
  int native = 0;
  uint32_t in_flight = 0;
  while (in_flight != 0 || (started < bytes && native == 0)) {
    for (; started < bytes && in_flight < pieces_in_flight && native == 0; in_flight++) {
      const uint64_t size = std::min(piece_bytes, bytes - started);
      io_uring_sqe *sqe = io_uring_get_sqe(&all);
      io_uring_prep_write(sqe, fd, from + started, static_cast<unsigned>(size), at + started);
      sqe->user_data = size;
      started += size;
    }
    const int status = io_uring_submit_and_wait(&all, 1);
    if (status < 0) return -status;
    io_uring_cqe *cqe = nullptr;
    while (io_uring_peek_cqe(&all, &cqe) == 0) {
      if (cqe->res < 0) native = -cqe->res;
      if (cqe->res >= 0 && static_cast<uint64_t>(cqe->res) != cqe->user_data) native = EIO;
      io_uring_cqe_seen(&all, cqe);
      in_flight--;
    }
  }
  return native;
}
#else
struct bare_writer::ring {
  static int write(int, const char *, uint64_t, uint64_t) { return ENOSYS; }
};
#endif

bare_writer::bare_writer() = default;

bare_writer::~bare_writer() {
  if (fd_ >= 0) ::close(fd_);
}

const char *bare_writer::name() const { return ring_ ? "io_uring" : "pwrite"; }

done bare_writer::open(const std::string &path, uint64_t bytes) {
  path_ = path;
  fd_ = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_DIRECT, 0600);
  if (fd_ < 0) return system_trouble(path, errno);
  // As the store does: no write has to find room.
  if (const int native = ::posix_fallocate(fd_, 0, static_cast<off_t>(bytes)); native != 0) {
    return system_trouble(path, native);
  }
#ifdef CUBBY_BENCH_RING
  auto made = std::make_unique<ring>();
  if (io_uring_queue_init(pieces_in_flight, &made->all, 0) == 0) ring_ = std::move(made);
#endif
  return nothing{};
}

done bare_writer::write(const char *from, uint64_t at, uint64_t bytes) {
  if (ring_) {
    const int native = ring_->write(fd_, from, at, bytes);
    if (native != 0) return system_trouble("a write of " + path_, native);
    return nothing{};
  }
  for (uint64_t i = 0; i < bytes; i += piece_bytes) {
    const uint64_t size = std::min(piece_bytes, bytes - i);
    const ssize_t put = ::pwrite(fd_, from + i, size, static_cast<off_t>(at + i));
    if (put != static_cast<ssize_t>(size)) {
      return system_trouble("a write of " + path_, put < 0 ? errno : EIO);
    }
  }
  return nothing{};
}

done bare_writer::flush() {
  if (::fdatasync(fd_) != 0) return system_trouble("fdatasync of " + path_, errno);
  return nothing{};
}

}  // namespace cubby_cli::bench
