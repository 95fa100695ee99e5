// What the library itself knows of this machine. Apart from the rest of the command, because its
// headers and cubby.hpp do not go together in one file.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace cubby_cli::characterize {

struct node_here {
  uint32_t number = 0;
  uint64_t memory_bytes = 0;   // 0: not known
  std::vector<uint32_t> cpus;  // those that this process may use; none: memory alone, such as CXL
};

struct device_here {
  std::string pci_id;  // "0000:3b:00.0"
  uint64_t nodes = 0;  // a bit a node that is beside it
};

struct platform_here {
  std::vector<node_here> nodes;
  std::vector<device_here> devices;
  std::string processor;
  double memory_bytes = 0;
  std::string source, why;  // "hwloc", "/sys" or "assumed"; why not hwloc
};

platform_here look_at_platform();
/// Untouched memory on whole pages is to come from that node; an errno, or 0.
int bind_to_node(void *base, uint64_t bytes, uint32_t node);
/// Of that memory, on huge pages, as the kernel says.
uint64_t huge_bytes_at(const void *base, uint64_t bytes);

}  // namespace cubby_cli::characterize
