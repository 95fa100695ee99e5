#include "cli/characterize/platform_here.hpp"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "platform/affinity.hpp"
#include "platform/host_memory.hpp"
#include "platform/processor.hpp"
#include "platform/topology.hpp"

namespace cubby_cli::characterize {

platform_here look_at_platform() {
  const cubby::platform::topology found = cubby::platform::read_topology();
  const cubby::platform::affinity mine = cubby::platform::current_affinity();
  platform_here made;
  made.source = found.source;
  made.why = found.why;
  made.processor = cubby::platform::processor_name();
  made.memory_bytes = cubby::platform::memory_bytes();
  for (const auto &node : found.nodes) {
    node_here one = {node.number, node.memory_bytes, node.cpus};
    if (mine.known)
      std::erase_if(one.cpus, [&](uint32_t cpu) {
        return cpu >= CPU_SETSIZE || CPU_ISSET(cpu, &mine.cpus) == 0;
      });
    made.nodes.push_back(std::move(one));
  }
  for (const auto &device : found.devices) made.devices.push_back({device.pci_id, device.nodes});
  return made;
}

int bind_to_node(void *base, uint64_t bytes, uint32_t node) {
  constexpr int bind_only = 2;  // MPOL_BIND of linux/mempolicy.h
  const unsigned long mask = 1ul << node;
  const long status = ::syscall(SYS_mbind, base, bytes, bind_only, &mask, 8 * sizeof mask + 1, 0u);
  return status == 0 ? 0 : errno;
}

uint64_t huge_bytes_at(const void *base, uint64_t bytes) {
  return cubby::platform::huge_bytes_of(base, bytes);
}

}  // namespace cubby_cli::characterize
