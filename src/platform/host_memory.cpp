#include "platform/host_memory.hpp"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include "base/checked.hpp"
#include "platform/affinity.hpp"
#include "platform/memory_left.hpp"
#include "platform/parallel.hpp"

namespace cubby::platform {
namespace {

constexpr uint64_t huge_page_bytes = uint64_t{2} << 20;

uint64_t page_bytes() { return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)); }

uint64_t alignment_of(uint64_t bytes) {
  return bytes >= huge_page_bytes ? huge_page_bytes : page_bytes();
}

/// What is mapped for `bytes`: whole huge pages where that adds little. A single small page at the
/// end would keep io_uring from taking the registered memory in large segments
/// (io_check_coalesce_buffer of the kernel), which triples the processor time of a read.
uint64_t mapped_for(uint64_t bytes) {
  constexpr uint64_t whole_from_bytes = 8 * huge_page_bytes;
  return base::align_up(bytes, bytes >= whole_from_bytes ? huge_page_bytes : page_bytes());
}

/// Maps `bytes` at an address that is a multiple of `alignment`, between two inaccessible pages.
/// These keep the kernel from merging the mapping with a neighbour, so that what smaps says is said
/// of this memory alone, and they stop whoever writes past an end.
void *map_aligned(uint64_t bytes, uint64_t alignment) {
  const uint64_t guard = page_bytes();
  const uint64_t mapped_bytes = bytes + alignment + 2 * guard;
  void *mapped = ::mmap(nullptr, mapped_bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t base = base::align_up(start + guard, alignment);
  const uintptr_t end = start + mapped_bytes;
  const uintptr_t keep_end = base + bytes + guard;
  if (base - guard > start) ::munmap(mapped, base - guard - start);
  if (end > keep_end) ::munmap(reinterpret_cast<void *>(keep_end), end - keep_end);
  void *memory = reinterpret_cast<void *>(base);
  if (::mprotect(memory, bytes, PROT_READ | PROT_WRITE) == 0) return memory;
  const int native = errno;
  ::munmap(reinterpret_cast<void *>(base - guard), bytes + 2 * guard);
  errno = native;
  return nullptr;
}

/// Without libnuma: the one call that is needed. Several nodes share the pages evenly, so that all
/// their memory channels serve a tier that spans them.
int bind_nodes(void *base, uint64_t bytes, uint64_t numa_nodes) {
  const auto mask = static_cast<unsigned long>(numa_nodes);
  const int mode = std::has_single_bit(numa_nodes) ? MPOL_BIND : MPOL_INTERLEAVE;
  const long status = ::syscall(SYS_mbind, base, bytes, mode, &mask, 8 * sizeof mask + 1, 0);
  return status == 0 ? 0 : errno;
}

/// Writes to every page, in pieces of a huge page. A thread is worth its making from 16 MiB on.
uint32_t touch(const host_memory &memory, const touch_plan &plan) {
  constexpr uint64_t bytes_per_thread = uint64_t{16} << 20;
  constexpr uint64_t threads_max = 16;
  const uint64_t bytes = mapped_for(memory.bytes);
  const uint64_t piece_count = (bytes + huge_page_bytes - 1) / huge_page_bytes;
  const uint64_t worth = std::clamp<uint64_t>(bytes / bytes_per_thread, 1, threads_max);
  const uint64_t page = page_bytes();
  const uint32_t threads =
      plan.thread_count != 0 ? plan.thread_count
                             : static_cast<uint32_t>(std::min<uint64_t>(worth, usable_cpu_count()));
  return parallel_for(piece_count, threads, plan.cpus, [&](uint64_t piece) {
    auto *data = static_cast<volatile unsigned char *>(memory.base);
    const uint64_t end = std::min((piece + 1) * huge_page_bytes, bytes);
    for (uint64_t at = piece * huge_page_bytes; at < end; at += page) data[at] = 0;
  });
}

error no_memory(uint64_t bytes, int native) {
  error failure = fail_errno(native,
                             "cannot take %" PRIu64
                             " bytes of host memory; lower the tier's budget, or raise the "
                             "address-space limit (ulimit -v) or the memory limit of the cgroup",
                             bytes);
  failure.status = CUBBY_ERR_NO_MEMORY;
  failure.needed_bytes = bytes;
  return failure;
}

}  // namespace

result<host_memory> take_host_memory(uint64_t bytes, uint64_t numa_nodes, const touch_plan &plan) {
  if (bytes == 0) return fail(CUBBY_ERR_INVALID, "0 bytes of host memory were asked for");
  const uint64_t alignment = alignment_of(bytes);
  if (!base::checked_add(bytes, 4 * alignment)) return no_memory(bytes, ENOMEM);

  // It is touched as it is taken, so that taking more would end this process, or another.
  if (bytes > free_memory_bytes()) return no_memory(bytes, ENOMEM);

  host_memory memory;
  memory.bytes = base::align_up(bytes, page_bytes());
  const uint64_t mapped_bytes = mapped_for(memory.bytes);
  memory.base = map_aligned(mapped_bytes, alignment);
  if (memory.base == nullptr) return no_memory(bytes, errno);

  if (numa_nodes != 0) {
    memory.bind_errno = bind_nodes(memory.base, mapped_bytes, numa_nodes);
    // Containers often forbid the call, and some kernels have no NUMA: the bytes are as good.
    if (memory.bind_errno != 0 && memory.bind_errno != EPERM && memory.bind_errno != ENOSYS) {
      give_host_memory(memory);
      return fail_errno(memory.bind_errno,
                        "cannot bind memory to NUMA nodes 0x%" PRIx64
                        "; name nodes that this machine has, or 0 for any",
                        numa_nodes);
    }
  }
  // Advice only: where huge pages are off, huge_bytes says 0.
  if (memory.bytes >= huge_page_bytes) ::madvise(memory.base, mapped_bytes, MADV_HUGEPAGE);
  memory.touch_thread_count = touch(memory, plan);
  memory.huge_bytes = huge_bytes_of(memory.base, memory.bytes);
  memory.numa_nodes = numa_nodes_of(memory.base, memory.bytes);
  return memory;
}

void give_host_memory(const host_memory &memory) noexcept {
  if (memory.base == nullptr) return;
  const uint64_t guard = page_bytes();
  ::munmap(static_cast<char *>(memory.base) - guard, mapped_for(memory.bytes) + 2 * guard);
}

uint64_t numa_nodes_of(const void *base, uint64_t bytes) {
  constexpr uint64_t sample_max = 256;
  constexpr int node_max = 64;
  const uint64_t page_count = bytes / page_bytes();
  const uint64_t sample_count = std::min(page_count, sample_max);
  if (sample_count == 0) return 0;
  void *pages[sample_max];
  int nodes[sample_max];
  const auto first = reinterpret_cast<uintptr_t>(base);
  for (uint64_t i = 0; i < sample_count; ++i) {
    const uint64_t at = page_count / sample_count * i * page_bytes();
    pages[i] = reinterpret_cast<void *>(first + at);
  }
  // Without target nodes the call moves nothing; it says where each page is.
  if (::syscall(SYS_move_pages, 0, sample_count, pages, nullptr, nodes, 0) != 0) return 0;
  uint64_t mask = 0;
  for (uint64_t i = 0; i < sample_count; ++i) {
    if (nodes[i] >= 0 && nodes[i] < node_max) mask |= uint64_t{1} << nodes[i];
  }
  return mask;
}

uint64_t huge_bytes_of(const void *base, uint64_t bytes) {
  const std::unique_ptr<FILE, int (*)(FILE *)> smaps(std::fopen("/proc/self/smaps", "re"),
                                                     &std::fclose);
  if (smaps == nullptr) return 0;
  const auto first = reinterpret_cast<uintptr_t>(base);
  uint64_t found_bytes = 0;
  bool inside = false;
  char line[512];
  while (std::fgets(line, sizeof line, smaps.get()) != nullptr) {
    uint64_t start = 0;
    uint64_t end = 0;
    uint64_t kib = 0;
    if (std::sscanf(line, "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2) {
      inside = start < first + bytes && end > first;
    } else if (inside && std::sscanf(line, "AnonHugePages: %" SCNu64 " kB", &kib) == 1) {
      found_bytes += kib * 1024;
    }
  }
  return std::min(found_bytes, bytes);
}

}  // namespace cubby::platform
