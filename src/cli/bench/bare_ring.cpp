// What io_uring gives to a loop that does nothing else.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "cli/bench/kv_sides.hpp"
#include "cli/bench/reader.hpp"

#ifdef CUBBY_BENCH_RING
#include <liburing.h>
#include <sys/uio.h>
#endif

namespace cubby_cli::bench {

#ifdef CUBBY_BENCH_RING
namespace {

class bare_ring : public reader {
 public:
  bare_ring(const layout &file, uint32_t depth)
      : file_(file), depth_(depth), memory_(depth * file.block_bytes) {}
  ~bare_ring() override {
    if (ring_.ring_fd > 0) io_uring_queue_exit(&ring_);
    if (fd_ >= 0) ::close(fd_);
  }
  done open();
  outcome<sample> run(const std::vector<uint32_t> &blocks) override;

 private:
  void prepare(uint32_t buffer, uint32_t block);

  const layout file_;
  const uint32_t depth_;
  huge_buffer memory_;
  io_uring ring_{};
  int fd_ = -1;
};

done bare_ring::open() {
  fd_ = ::open(file_.path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (fd_ < 0) return system_trouble(file_.path, errno);
  if (memory_.data() == nullptr) return system_trouble("memory for the bare loop", ENOMEM);
  int status = io_uring_queue_init(depth_, &ring_, 0);
  if (status < 0) return system_trouble("io_uring for the bare loop", -status);
  const iovec all{memory_.data(), memory_.bytes()};
  status = io_uring_register_buffers(&ring_, &all, 1);
  if (status == 0) status = io_uring_register_files(&ring_, &fd_, 1);
  if (status < 0) return system_trouble("registered buffers for the bare loop", -status);
  return nothing{};
}

void bare_ring::prepare(uint32_t buffer, uint32_t block) {
  io_uring_sqe *sqe = io_uring_get_sqe(&ring_);
  io_uring_prep_read_fixed(sqe, 0, memory_.data() + buffer * file_.block_bytes,
                           static_cast<unsigned>(file_.block_bytes), file_.offset(block), 0);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = buffer;
}

outcome<sample> bare_ring::run(const std::vector<uint32_t> &blocks) {
  const stopwatch watch;
  size_t next = 0, ended = 0;
  for (uint32_t i = 0; i < depth_ && next < blocks.size(); i++) prepare(i, blocks[next++]);
  while (ended < blocks.size()) {
    const int status = io_uring_submit_and_wait(&ring_, 1);
    if (status < 0) return system_trouble("the bare loop", -status);
    io_uring_cqe *cqe = nullptr;
    while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
      const auto buffer = static_cast<uint32_t>(cqe->user_data);
      const int got = cqe->res;
      io_uring_cqe_seen(&ring_, cqe);
      if (got != static_cast<int>(file_.block_bytes)) {
        return system_trouble("a read of the bare loop", got < 0 ? -got : EIO);
      }
      ended++;
      if (next < blocks.size()) prepare(buffer, blocks[next++]);
    }
  }
  return watch.stop(blocks.size() * file_.block_bytes);
}

}  // namespace

outcome<std::unique_ptr<reader>> make_bare(const layout &file, uint32_t depth) {
  auto made = std::make_unique<bare_ring>(file, depth);
  if (auto opened = made->open(); !opened) return opened.failure();
  return std::unique_ptr<reader>(std::move(made));
}
#else
outcome<std::unique_ptr<reader>> make_bare(const layout &, uint32_t) {
  return trouble{"this build has no liburing; install liburing-dev and build again"};
}
#endif

// ---- writes ----------------------------------------------------------------------------------

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
