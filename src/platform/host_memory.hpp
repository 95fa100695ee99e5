// Host memory for frames: huge pages where the kernel gives them, bound to NUMA nodes where asked,
// touched before first use by several threads. What came of it is read back from the kernel.
#pragma once

#include <cstdint>
#include <vector>

#include "base/result.hpp"

namespace cubby::platform {

struct host_memory {
  void *base = nullptr;     // aligned to 2 MiB when bytes is at least 2 MiB, else to a page
  uint64_t bytes = 0;       // a multiple of the page size, zeroed
  uint64_t huge_bytes = 0;  // backed by huge pages, as /proc/self/smaps says
  uint64_t numa_nodes = 0;  // a bit a node its pages are on, as read back; 0 = unknown
  int32_t bind_errno = 0;   // why it is not bound as asked, when the kernel forbids binding
  uint32_t touch_thread_count = 0;
};

/// How first touch is spread. The defaults suit a machine of one node.
struct touch_plan {
  uint32_t thread_count = 0;   // 0 = as many as the size is worth
  std::vector<uint32_t> cpus;  // processors of the nodes that are asked for; empty = any
};

/// Takes zeroed, touched memory with an inaccessible page before and behind it. `numa_nodes`: a bit
/// a node; 0 = any; one node is bound to, several are interleaved. Where a container forbids
/// binding the memory is taken all the same and bind_errno says so. Errors: INVALID for 0 bytes or
/// nodes this machine lacks; NO_MEMORY, with needed_bytes, when the address space or a limit does
/// not allow it.
result<host_memory> take_host_memory(uint64_t bytes, uint64_t numa_nodes,
                                     const touch_plan &plan = {});

/// Gives back what take_host_memory gave.
void give_host_memory(const host_memory &memory) noexcept;

/// Bytes of [base, base + bytes) backed by huge pages, from /proc/self/smaps; 0 when it cannot be
/// read. Mappings that reach beyond the range are counted up to its size.
uint64_t huge_bytes_of(const void *base, uint64_t bytes);

/// Nodes that the touched pages of [base, base + bytes) are on, a bit a node, from a sample of up
/// to 256 pages; 0 when the kernel does not say.
uint64_t numa_nodes_of(const void *base, uint64_t bytes);

}  // namespace cubby::platform
