#include "cli/bench/reader.hpp"

#include <sys/mman.h>
#include <sys/resource.h>

#include <cstring>

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

}  // namespace

stopwatch::stopwatch() : start_ns_(clock_ns()), cpu_start_ns_(cpu_ns()) {}

sample stopwatch::stop(uint64_t bytes) const {
  return {static_cast<double>(clock_ns() - start_ns_) / 1e9, bytes, cpu_ns() - cpu_start_ns_};
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
