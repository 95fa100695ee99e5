#include "cli/characterize/memory_set.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <system_error>
#include <thread>

#include "cli/characterize/platform_here.hpp"
#include "cli/model/weights.hpp"
#include "platform/affinity.hpp"

namespace cubby_cli::characterize {
namespace {

constexpr uint64_t huge_page_bytes = uint64_t{2} << 20, line_bytes = 64;

/// On these processors while it stands.
class run_there {
 public:
  explicit run_there(const std::vector<uint32_t> &cpus)
      : before_(cubby::platform::current_affinity()) {
    cubby::platform::run_on(cpus);
  }
  ~run_there() { cubby::platform::restore_affinity(before_); }
  run_there(const run_there &) = delete;
  run_there &operator=(const run_there &) = delete;

 private:
  const cubby::platform::affinity before_;
};

/// Eight sums, so that no addition waits for the one before.
uint64_t sum_of(const char *from, uint64_t bytes) {
  uint64_t sums[8] = {};
  for (uint64_t at = 0; at < bytes; at += line_bytes) {
    uint64_t words[8];
    std::memcpy(words, from + at, sizeof words);
    for (int i = 0; i < 8; i++) sums[i] += words[i];
  }
  uint64_t all = 0;
  for (const uint64_t one : sums) all += one;
  return all;
}

/// The compiler must neither leave work out nor know what comes.
template <class T>
void used(const T &value) {
  asm volatile("" : : "r"(value) : "memory");
}

}  // namespace

const char *name_of(memory_verb what) {
  switch (what) {
    case memory_verb::read:
      return "read";
    case memory_verb::write:
      return "write";
    case memory_verb::copy:
      return "copy";
    case memory_verb::mix70:
      return "mix70";
  }
  return "";
}

memory_set::~memory_set() {
  if (mapped_ != nullptr) ::munmap(mapped_, mapped_bytes_);
}

done memory_set::open(uint64_t bytes, pages size, uint32_t node,
                      const std::vector<uint32_t> &cpus) {
  bytes_ = bytes;
  mapped_bytes_ = bytes + huge_page_bytes;
  void *mapped =
      ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return system_trouble("memory to measure", errno);
  mapped_ = mapped;
  const uintptr_t start = (reinterpret_cast<uintptr_t>(mapped) + huge_page_bytes - 1) /
                          huge_page_bytes * huge_page_bytes;
  base_ = reinterpret_cast<char *>(start);
  ::madvise(base_, bytes, size == pages::huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  bind_errno_ = bind_to_node(base_, bytes, node);
  const run_there there(cpus);
  std::memset(base_, 1, bytes);
  return nothing{};
}

uint64_t memory_set::huge_bytes() const { return huge_bytes_at(base_, bytes_); }

struct memory_set::part {
  uint64_t bytes = 0;
  std::vector<uint64_t> took_ns;
};

template <class Goes>
void memory_set::work(const memory_load &asked, uint32_t at, part &of, const Goes &goes_on) {
  const uint64_t size = asked.block_bytes;
  model::random_stream dice(clock_ns() + at, 17);
  // Each thread has blocks of its own: they are to share the memory's speed, not cache lines.
  const auto count = static_cast<uint32_t>(bytes_ / asked.threads / size);
  char *const own = base_ + at * count * size;
  // A look at the clock for each 64 KiB: for every small block it would be part of what is
  // measured.
  const uint64_t batch = std::max<uint64_t>(1, (64u << 10) / size);
  do {
    const uint64_t start = clock_ns();
    for (uint64_t i = 0; i < batch; i++) {
      char *const block = own + uint64_t{dice.below(count)} * size;
      memory_verb what = asked.what;
      if (what == memory_verb::mix70)
        what = dice.below(10) < 7 ? memory_verb::read : memory_verb::write;
      if (what == memory_verb::read) used(sum_of(block, size));
      if (what == memory_verb::write) std::memset(block, static_cast<int>(i), size);
      if (what == memory_verb::copy)
        std::memmove(block, own + uint64_t{dice.below(count)} * size, size);
    }
    of.took_ns.push_back((clock_ns() - start) / batch);
    of.bytes += batch * size;
  } while (goes_on());
}

outcome<figures> memory_set::run(const memory_load &asked, const std::vector<uint32_t> &cpus,
                                 double seconds, energy_counters &energy) {
  if (bytes_ / asked.threads < asked.block_bytes)
    return trouble{"there is too little memory for a block of each thread"};
  std::vector<part> parts(asked.threads);
  std::vector<std::thread> others;
  meter watch(energy, seconds);
  const auto goes_on = [&] { return !watch.over(); };
  const auto job = [&](uint32_t i) {
    const run_there there(cpus);
    work(asked, i, parts[i], goes_on);
  };
  try {
    for (uint32_t i = 1; i < asked.threads; i++) others.emplace_back(job, i);
  } catch (const std::system_error &) {
    // Reported below, once those that run have ended.
  }
  job(0);
  for (std::thread &one : others) one.join();
  if (others.size() + 1 < asked.threads)
    return trouble{"no more threads could be made; raise ulimit -u or the container's limit"};
  latencies took;
  uint64_t bytes = 0;
  double bytes_per_s = 0;
  for (const part &one : parts) {
    for (const uint64_t ns : one.took_ns) took.add(ns);
    bytes += one.bytes;
    // By the usual batch: one in which another program had the processor says nothing of memory.
    bytes_per_s += static_cast<double>(asked.block_bytes) * 1e9 / median_of(one.took_ns);
  }
  figures found = watch.stop(bytes, took);
  found.bytes_per_s = bytes_per_s;
  return found;
}

outcome<figures> memory_set::chase(const std::vector<uint32_t> &cpus, double seconds,
                                   energy_counters &energy) {
  const run_there there(cpus);
  const auto lines = static_cast<uint32_t>(bytes_ / line_bytes);
  if (lines < 2) return trouble{"there is too little memory to measure its latency"};
  std::vector<uint32_t> order(lines);
  for (uint32_t i = 0; i < lines; i++) order[i] = i;
  model::random_stream dice(lines, 19);
  // One cycle through all lines: Sattolo, Information Processing Letters 22 (1986) 315.
  for (uint32_t i = lines - 1; i > 0; i--) std::swap(order[i], order[dice.below(i)]);
  for (uint32_t i = 0; i < lines; i++) {
    char *const to = base_ + uint64_t{order[i]} * line_bytes;
    std::memcpy(base_ + uint64_t{i} * line_bytes, &to, sizeof to);
  }
  order = {};
  constexpr uint32_t batch = 1024;
  latencies took;
  uint64_t loads = 0;
  const char *at = base_;
  meter watch(energy, seconds);
  do {
    const uint64_t start = clock_ns();
    for (uint32_t i = 0; i < batch; i++) std::memcpy(&at, at, sizeof at);
    used(at);
    took.add((clock_ns() - start) / batch);
    loads += batch;
    watch.ended(batch * line_bytes);
  } while (!watch.over());
  figures found = watch.stop(loads * line_bytes, took);
  found.bytes_per_s = static_cast<double>(line_bytes) * 1e9 / std::max(1.0, *found.p50_ns);
  return found;
}

}  // namespace cubby_cli::characterize
