// What io_uring gives to a loop that does nothing else.
#include "cli/bench/reader.hpp"

#ifdef CUBBY_BENCH_RING
#include <fcntl.h>
#include <liburing.h>
#include <sys/uio.h>
#include <unistd.h>
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

}  // namespace cubby_cli::bench
