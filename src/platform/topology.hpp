// Which NUMA nodes this machine has, with what memory and which processors, and which of them a
// device is beside. hwloc answers where its library can be loaded at run time, else the kernel's
// own tree under /sys, else one node is assumed; `why` says when it was not hwloc.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace cubby::platform {

inline constexpr const char *hwloc_library = "libhwloc.so.15";

struct numa_node {
  uint32_t number = 0;  // the kernel's number, below 64: masks have a bit a node
  uint64_t memory_bytes = 0;
  std::vector<uint32_t> cpus;
};

struct pci_place {
  std::string pci_id;  // "0000:3b:00.0", lower case
  uint64_t nodes = 0;  // a bit a node
};

struct topology {
  std::vector<numa_node> nodes;    // by number
  std::vector<pci_place> devices;  // those whose place hwloc knows
  std::string source;              // "hwloc", "/sys" or "assumed"
  std::string why;                 // empty with hwloc; else why not and what would change that
  std::string sysfs_root;  // where a device that is not in `devices` is looked up; may be ""

  /// Every node with memory; a bit a node. A machine without NUMA has one node.
  uint64_t memory_nodes() const;
  /// Nodes with memory beside a PCI device; an unknown device or place gives memory_nodes().
  uint64_t nodes_near(std::string_view pci_id) const;
  /// Processors of these nodes.
  std::vector<uint32_t> cpus_of(uint64_t node_mask) const;
};

/// This machine. Never fails; the names are parameters so that their absence can be tested.
topology read_topology(const char *library = hwloc_library, const std::string &sysfs_root = "/sys");

/// By hwloc. `synthetic`: NULL = this machine, else a description such as "numa:2 core:4 pu:1".
/// Errors: NOT_SUPPORTED when the library or the header was absent; INVALID for a description that
/// hwloc refuses.
result<topology> read_topology_hwloc(const char *synthetic, const char *library = hwloc_library);

/// By the kernel's tree. Errors: NOT_SUPPORTED when it lists no node.
result<topology> read_topology_sysfs(const std::string &sysfs_root);

}  // namespace cubby::platform
