#include "cli/demo/bare_loop.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <thread>
#include <vector>

#include "cli/model/weights.hpp"
#include "cli/support.hpp"

namespace cubby_cli::demo {
namespace {

constexpr uint64_t block_bytes = uint64_t{2} << 20;
constexpr uint32_t depth = 8;

}  // namespace

double bare_bytes_per_s(const std::string &path, uint64_t file_bytes, uint64_t read_bytes) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (fd < 0 || file_bytes < block_bytes) return 0;
  const uint64_t size = (depth + 1) * block_bytes;
  void *mapped = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) {
    ::close(fd);
    return 0;
  }
  ::madvise(mapped, size, MADV_HUGEPAGE);
  const auto start_address = (reinterpret_cast<uintptr_t>(mapped) + block_bytes - 1) / block_bytes;
  std::atomic<uint64_t> left{read_bytes / block_bytes}, got{0};
  const uint64_t blocks = file_bytes / block_bytes;
  const uint64_t start = clock_ns();
  std::vector<std::thread> readers;
  for (uint32_t i = 0; i < depth; ++i) {
    readers.emplace_back([&, i] {
      model::random_stream random(start, i);
      auto *to = reinterpret_cast<char *>((start_address + i) * block_bytes);
      while (left.fetch_sub(1) - 1 < read_bytes / block_bytes) {
        const uint64_t at = random.below(static_cast<uint32_t>(blocks)) * block_bytes;
        const ssize_t more = ::pread(fd, to, block_bytes, static_cast<off_t>(at));
        if (more > 0) got += static_cast<uint64_t>(more);
      }
    });
  }
  for (std::thread &reader : readers) reader.join();
  const double seconds = seconds_since(start);
  ::munmap(mapped, size);
  ::close(fd);
  return static_cast<double>(got.load()) / seconds;
}

}  // namespace cubby_cli::demo
