// Host memory for frames: huge pages where the kernel gives them, bound to NUMA nodes where asked,
// touched before first use. How much is really backed by huge pages is read back from the kernel.
#pragma once

#include <cstdint>

#include "base/result.hpp"

namespace cubby::platform {

struct host_memory {
  void *base = nullptr;     // aligned to 2 MiB when bytes is at least 2 MiB, else to a page
  uint64_t bytes = 0;       // a multiple of the page size, zeroed
  uint64_t huge_bytes = 0;  // backed by huge pages, as /proc/self/smaps says
};

/// Takes zeroed, touched memory. `numa_nodes`: a bit a node; 0 = any. Errors: INVALID for 0 bytes
/// or nodes this machine lacks; NO_MEMORY, with needed_bytes, when the address space or a limit
/// does not allow it.
result<host_memory> take_host_memory(uint64_t bytes, uint64_t numa_nodes);

/// Gives back what take_host_memory gave.
void give_host_memory(const host_memory &memory) noexcept;

/// Bytes of [base, base + bytes) backed by huge pages, from /proc/self/smaps; 0 when it cannot be
/// read. Mappings that reach beyond the range are counted up to its size.
uint64_t huge_bytes_of(const void *base, uint64_t bytes);

}  // namespace cubby::platform
