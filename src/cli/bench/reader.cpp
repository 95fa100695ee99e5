#include "cli/bench/reader.hpp"

#include <sys/mman.h>
#include <sys/resource.h>

#include <cstring>
#include <filesystem>
#include <fstream>

namespace cubby_cli::bench {
namespace {

constexpr uint64_t huge_page_bytes = uint64_t{2} << 20;

uint64_t cpu_ns() {
  rusage used{};
  ::getrusage(RUSAGE_SELF, &used);
  const auto ns = [](const timeval &t) {
    return static_cast<uint64_t>(t.tv_sec) * 1'000'000'000 +
           static_cast<uint64_t>(t.tv_usec) * 1'000;
  };
  return ns(used.ru_utime) + ns(used.ru_stime);
}

uint64_t starved_by(const std::filesystem::path &task) {
  uint64_t ran = 0, waited = 0;
  return std::ifstream(task / "schedstat") >> ran >> waited ? waited : 0;
}

}  // namespace

uint64_t starved_ns() {
  uint64_t all = 0;
  std::error_code failed;
  for (const auto &task : std::filesystem::directory_iterator("/proc/self/task", failed))
    all += starved_by(task.path());
  return all;
}

uint64_t starved_here_ns() { return starved_by("/proc/thread-self"); }

stopwatch::stopwatch() : cpu_start_ns_(cpu_ns()), starved_start_ns_(starved_ns()) {
  start_ns_ = clock_ns();
}

sample stopwatch::stop(uint64_t bytes) const {
  const double seconds = static_cast<double>(clock_ns() - start_ns_) / 1e9;
  const uint64_t starved = starved_ns();
  return {seconds, bytes, cpu_ns() - cpu_start_ns_,
          starved > starved_start_ns_ ? starved - starved_start_ns_ : 0};
}

huge_buffer::huge_buffer(uint64_t bytes) : bytes_(bytes) {
  mapped_bytes_ = bytes + huge_page_bytes;
  void *mapped =
      ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return;
  mapped_ = mapped;
  const auto start = (reinterpret_cast<uintptr_t>(mapped) + huge_page_bytes - 1) / huge_page_bytes *
                     huge_page_bytes;
  data_ = reinterpret_cast<char *>(start);
  ::madvise(data_, bytes, MADV_HUGEPAGE);
  std::memset(data_, 0, bytes);
}

huge_buffer::~huge_buffer() {
  if (mapped_ != nullptr) ::munmap(mapped_, mapped_bytes_);
}

}  // namespace cubby_cli::bench
