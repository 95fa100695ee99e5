#include "cli/characterize/bare_loop.hpp"

#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <thread>

#include "cli/model/weights.hpp"

#ifdef CUBBY_BENCH_RING
#include <liburing.h>
#include <sys/uio.h>
#endif

namespace cubby_cli::characterize {
namespace {

constexpr uint32_t ring_depth_max = 64;

trouble wrong_count(bool reads, ssize_t got) {
  return system_trouble(
      reads ? "a read of the file that is measured" : "a write to the file that is measured",
      got < 0 ? static_cast<int>(-got) : EIO);
}

}  // namespace

void make_noise(const bench::huge_buffer &memory) {
  model::random_stream noise(memory.bytes(), 13);
  auto *const words = reinterpret_cast<uint64_t *>(memory.data());
  for (uint64_t i = 0; i < memory.bytes() / sizeof *words; i++) words[i] = noise.next();
}

block_dice::block_dice(const file_range &of, const load &asked, uint64_t seed)
    : of_(of),
      asked_(asked),
      count_(std::max<uint64_t>(1, of.bytes / asked.block_bytes)),
      state_(seed * 0x9e3779b97f4a7c15u + 1) {}

/// splitmix64: some nanoseconds, beside an I/O.
uint64_t block_dice::next() {
  uint64_t mixed = state_ += 0x9e3779b97f4a7c15u;
  mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9u;
  mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111ebu;
  return mixed ^ mixed >> 31;
}

uint64_t block_dice::next_offset() { return of_.from_bytes + next() % count_ * asked_.block_bytes; }

bool block_dice::next_reads() {
  if (asked_.what != verb::mix70) return asked_.what == verb::read;
  return next() % 10 < 7;
}

#ifdef CUBBY_BENCH_RING
namespace {

class ring_loop final : public bare_loop {
 public:
  ring_loop(const file_range &of, uint64_t memory_bytes) : of_(of), memory_(memory_bytes) {}
  ~ring_loop() override {
    if (opened_) io_uring_queue_exit(&ring_);
  }
  done open();
  outcome<figures> run(const load &asked, double seconds, energy_counters &energy,
                       const std::atomic<bool> *stop) override;
  [[nodiscard]] const char *name() const override {
    return registered_ ? "io_uring" : "io_uring (its buffers not registered: ulimit -l)";
  }

 private:
  struct slot {
    uint64_t start_ns = 0;
    bool reads = true;
  };
  void start(uint32_t at, const load &asked, block_dice &dice);
  done take(const load &asked, latencies &took, meter &watch);

  const file_range of_;
  const bench::huge_buffer memory_;
  io_uring ring_{};
  bool opened_ = false, registered_ = false;
  slot slots_[ring_depth_max];
  std::vector<uint32_t> free_;
};

done ring_loop::open() {
  if (memory_.data() == nullptr) return system_trouble("memory for the bare loop", ENOMEM);
  make_noise(memory_);
  int status = io_uring_queue_init(ring_depth_max, &ring_, 0);
  if (status < 0) return system_trouble("io_uring", -status);
  opened_ = true;
  const iovec all{memory_.data(), memory_.bytes()};
  registered_ = io_uring_register_buffers(&ring_, &all, 1) == 0;  // else by address: ulimit -l
  status = io_uring_register_files(&ring_, &of_.fd, 1);
  if (status < 0) return system_trouble("a registered file of io_uring", -status);
  return nothing{};
}

void ring_loop::start(uint32_t at, const load &asked, block_dice &dice) {
  io_uring_sqe *sqe = io_uring_get_sqe(&ring_);
  char *const memory = memory_.data() + at * asked.block_bytes;
  const auto bytes = static_cast<unsigned>(asked.block_bytes);
  const uint64_t offset = dice.next_offset();
  slot &one = slots_[at];
  one.reads = dice.next_reads();
  if (one.reads && registered_) io_uring_prep_read_fixed(sqe, 0, memory, bytes, offset, 0);
  if (one.reads && !registered_) io_uring_prep_read(sqe, 0, memory, bytes, offset);
  if (!one.reads && registered_) io_uring_prep_write_fixed(sqe, 0, memory, bytes, offset, 0);
  if (!one.reads && !registered_) io_uring_prep_write(sqe, 0, memory, bytes, offset);
  sqe->flags |= IOSQE_FIXED_FILE;
  sqe->user_data = at;
  one.start_ns = clock_ns();
}

done ring_loop::take(const load &asked, latencies &took, meter &watch) {
  const int status = io_uring_submit_and_wait(&ring_, 1);
  if (status < 0 && status != -EINTR) return system_trouble("io_uring", -status);
  io_uring_cqe *cqe = nullptr;
  done good = nothing{};
  uint64_t ended_bytes = 0;
  while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
    const auto at = static_cast<uint32_t>(cqe->user_data);
    const int got = cqe->res;
    io_uring_cqe_seen(&ring_, cqe);
    took.add(clock_ns() - slots_[at].start_ns);
    ended_bytes += asked.block_bytes;
    free_.push_back(at);
    if (got != static_cast<int>(asked.block_bytes)) good = wrong_count(slots_[at].reads, got);
  }
  if (ended_bytes != 0) watch.ended(ended_bytes);
  return good;
}

outcome<figures> ring_loop::run(const load &asked, double seconds, energy_counters &energy,
                                const std::atomic<bool> *stop) {
  block_dice dice(of_, asked, clock_ns());
  latencies took;
  free_.clear();
  for (uint32_t i = 0; i < asked.depth; i++) free_.push_back(i);
  uint64_t started = 0;
  done good = nothing{};
  meter watch(energy, seconds);
  const auto goes_on = [&] { return good && !watch.over() && (stop == nullptr || !stop->load()); };
  for (bool on = true; on || free_.size() < asked.depth;) {
    for (; on && !free_.empty(); started++) {
      const uint32_t at = free_.back();
      free_.pop_back();
      start(at, asked, dice);
    }
    if (auto taken = take(asked, took, watch); !taken) good = taken;
    on = on && goes_on();
  }
  if (!good) return good.failure();
  return watch.stop(started * asked.block_bytes, took);
}

}  // namespace

outcome<std::unique_ptr<bare_loop>> make_ring_loop(const file_range &of, uint64_t memory_bytes) {
  auto made = std::make_unique<ring_loop>(of, memory_bytes);
  if (auto opened = made->open(); !opened) return opened.failure();
  return std::unique_ptr<bare_loop>(std::move(made));
}
#else
outcome<std::unique_ptr<bare_loop>> make_ring_loop(const file_range &, uint64_t) {
  return trouble{"this build has no liburing; install liburing-dev and build again"};
}
#endif

namespace {

class thread_loop final : public bare_loop {
 public:
  thread_loop(const file_range &of, uint64_t memory_bytes) : of_(of), memory_(memory_bytes) {}
  done open() const {
    if (memory_.data() == nullptr) return system_trouble("memory for the bare loop", ENOMEM);
    make_noise(memory_);
    return nothing{};
  }
  outcome<figures> run(const load &asked, double seconds, energy_counters &energy,
                       const std::atomic<bool> *stop) override;
  [[nodiscard]] const char *name() const override { return "threads"; }

 private:
  struct part {
    std::vector<uint64_t> took_ns;
    ssize_t wrong = 0;
    bool failed = false, reads = true;
  };
  template <class Goes>
  void work(uint32_t at, const load &asked, part &of, const Goes &goes_on) const;

  const file_range of_;
  const bench::huge_buffer memory_;
};

template <class Goes>
void thread_loop::work(uint32_t at, const load &asked, part &of, const Goes &goes_on) const {
  block_dice dice(of_, asked, clock_ns() + at);
  char *const memory = memory_.data() + at * asked.block_bytes;
  do {
    const auto offset = static_cast<off_t>(dice.next_offset());
    of.reads = dice.next_reads();
    const uint64_t start = clock_ns();
    const ssize_t got = of.reads ? ::pread(of_.fd, memory, asked.block_bytes, offset)
                                 : ::pwrite(of_.fd, memory, asked.block_bytes, offset);
    of.took_ns.push_back(clock_ns() - start);
    of.failed = got != static_cast<ssize_t>(asked.block_bytes);
    of.wrong = got < 0 ? -errno : got;
  } while (!of.failed && goes_on());
}

outcome<figures> thread_loop::run(const load &asked, double seconds, energy_counters &energy,
                                  const std::atomic<bool> *stop) {
  std::vector<part> parts(asked.depth);
  std::vector<std::thread> others;
  meter watch(energy, seconds);
  const auto goes_on = [&] { return !watch.over() && (stop == nullptr || !stop->load()); };
  try {
    for (uint32_t i = 1; i < asked.depth; i++)
      others.emplace_back([&, i] { work(i, asked, parts[i], goes_on); });
  } catch (const std::system_error &) {
    // Fewer threads: the depth was not reached, which shows as an error below.
  }
  work(0, asked, parts[0], goes_on);
  for (std::thread &one : others) one.join();
  if (others.size() + 1 < asked.depth)
    return trouble{"no more threads could be made; raise ulimit -u or the container's limit"};
  latencies took;
  uint64_t count = 0;
  for (const part &one : parts) {
    if (one.failed) return wrong_count(one.reads, one.wrong);
    for (const uint64_t ns : one.took_ns) took.add(ns);
    count += one.took_ns.size();
  }
  return watch.stop(count * asked.block_bytes, took);
}

}  // namespace

outcome<std::unique_ptr<bare_loop>> make_thread_loop(const file_range &of, uint64_t memory_bytes) {
  auto made = std::make_unique<thread_loop>(of, memory_bytes);
  if (auto opened = made->open(); !opened) return opened.failure();
  return std::unique_ptr<bare_loop>(std::move(made));
}

outcome<std::unique_ptr<bare_loop>> make_loop(const file_range &of, uint64_t memory_bytes,
                                              std::string &why) {
  auto ring = make_ring_loop(of, memory_bytes);
  if (ring) return ring;
  why = "the bare loop is threads of pread and pwrite, not io_uring: " + ring.failure().text;
  return make_thread_loop(of, memory_bytes);
}

}  // namespace cubby_cli::characterize
