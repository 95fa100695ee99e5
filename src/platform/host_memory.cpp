#include "platform/host_memory.hpp"

#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstdio>
#include <memory>

#include "base/checked.hpp"

namespace cubby::platform {
namespace {

constexpr uint64_t huge_page_bytes = uint64_t{2} << 20;

uint64_t page_bytes() { return static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)); }

/// Maps `bytes` at an address that is a multiple of `alignment`: maps more and gives the edges
/// back.
void *map_aligned(uint64_t bytes, uint64_t alignment) {
  const uint64_t mapped_bytes = bytes + alignment;
  void *mapped =
      ::mmap(nullptr, mapped_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapped == MAP_FAILED) return nullptr;
  const auto start = reinterpret_cast<uintptr_t>(mapped);
  const uintptr_t base = base::align_up(start, alignment);
  if (base > start) ::munmap(mapped, base - start);
  const uintptr_t end = start + mapped_bytes;
  if (end > base + bytes) ::munmap(reinterpret_cast<void *>(base + bytes), end - (base + bytes));
  return reinterpret_cast<void *>(base);
}

/// Without libnuma: the one call that is needed.
int bind_nodes(void *base, uint64_t bytes, uint64_t numa_nodes) {
  const auto mask = static_cast<unsigned long>(numa_nodes);
  const long status = ::syscall(SYS_mbind, base, bytes, MPOL_BIND, &mask, 8 * sizeof mask + 1, 0);
  return status == 0 ? 0 : errno;
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

result<host_memory> take_host_memory(uint64_t bytes, uint64_t numa_nodes) {
  if (bytes == 0) return fail(CUBBY_ERR_INVALID, "0 bytes of host memory were asked for");
  const uint64_t alignment = bytes >= huge_page_bytes ? huge_page_bytes : page_bytes();
  if (!base::checked_add(bytes, 2 * alignment)) return no_memory(bytes, ENOMEM);

  host_memory memory;
  memory.bytes = base::align_up(bytes, page_bytes());
  memory.base = map_aligned(memory.bytes, alignment);
  if (memory.base == nullptr) return no_memory(bytes, errno);

  if (numa_nodes != 0) {
    if (const int native = bind_nodes(memory.base, memory.bytes, numa_nodes); native != 0) {
      give_host_memory(memory);
      return fail_errno(native,
                        "cannot bind memory to NUMA nodes 0x%" PRIx64
                        "; name nodes that this machine has, or 0 for any",
                        numa_nodes);
    }
  }
  // Advice only: where huge pages are off, huge_bytes says 0.
  if (memory.bytes >= huge_page_bytes) ::madvise(memory.base, memory.bytes, MADV_HUGEPAGE);
  auto *bytes_of = static_cast<volatile unsigned char *>(memory.base);
  for (uint64_t at = 0; at < memory.bytes; at += page_bytes()) bytes_of[at] = 0;
  memory.huge_bytes = huge_bytes_of(memory.base, memory.bytes);
  return memory;
}

void give_host_memory(const host_memory &memory) noexcept {
  if (memory.base != nullptr) ::munmap(memory.base, memory.bytes);
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
