// What the library hands to a backend at open: host memory, NUMA answers, a log, a clock.
#pragma once

#include <cubby/backend.h>

#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "platform/topology.hpp"

namespace cubby::platform {

/// The log of whoever makes the services; any thread may call it.
using log_fn = void (*)(void *context, uint32_t level, const char *text);

/// Stands still: its address is the context of the table. Every service may be called from any
/// thread. NUMA nodes are looked up at the first call that needs them, not before.
class services {
 public:
  /// `log` may be NULL: lines then go nowhere.
  services(log_fn log, void *log_context);
  services(const services &) = delete;
  services &operator=(const services &) = delete;

  const cubby_backend_services &table() const noexcept { return table_; }
  /// This machine's nodes.
  const topology &nodes();
  /// Where an accelerator sits ("0000:3b:00.0"), for nodes_near; without it, near every node.
  void device_at(int32_t device, std::string pci_id);

 private:
  int32_t memory_take(uint64_t bytes, uint64_t numa_nodes, cubby_backend_memory *out);
  uint64_t nodes_near(int32_t device);
  void say(uint32_t level, const std::string &text) const;

  cubby_backend_services table_{};
  log_fn log_;
  void *log_context_;
  std::once_flag topology_once_;
  topology topology_;
  std::mutex devices_mutex_;
  std::map<int32_t, std::string> devices_;
};

}  // namespace cubby::platform
