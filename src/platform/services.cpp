#include "platform/services.hpp"

#include <algorithm>
#include <cerrno>
#include <cinttypes>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>

#include "base/clock.hpp"
#include "platform/host_memory.hpp"

namespace cubby::platform {
namespace {

enum : uint32_t { level_error = 0, level_warning = 1, level_notice = 2 };

services &of(void *context) { return *static_cast<services *>(context); }

/// A backend compiled against another header may know fewer fields, or more: only those both know
/// are written, and its struct_size stays.
void write(const cubby_backend_memory &from, cubby_backend_memory *out) {
  const uint32_t known = out->struct_size == 0 ? static_cast<uint32_t>(sizeof from)
                                               : std::min<uint32_t>(out->struct_size, sizeof from);
  std::memcpy(out, &from, known);
  out->struct_size = known;
}

}  // namespace

services::services(log_fn log, void *log_context) : log_(log), log_context_(log_context) {
  table_.struct_size = sizeof table_;
  table_.abi_version = CUBBY_BACKEND_ABI_VERSION;
  table_.context = this;
  table_.memory_take = [](void *context, uint64_t bytes, uint64_t numa_nodes,
                          cubby_backend_memory *out) {
    return of(context).memory_take(bytes, numa_nodes, out);
  };
  table_.memory_give = [](void *, const cubby_backend_memory *memory) {
    if (memory == nullptr) return;
    host_memory taken;
    taken.base = memory->base;
    taken.bytes = memory->bytes;
    give_host_memory(taken);
  };
  table_.nodes_near = [](void *context, int32_t device) { return of(context).nodes_near(device); };
  table_.log = [](void *context, uint32_t level, const char *text) {
    const services &self = of(context);
    if (self.log_ != nullptr && text != nullptr) self.log_(self.log_context_, level, text);
  };
  table_.now_ns = [](void *) { return base::now_ns(); };
}

const topology &services::nodes() {
  std::call_once(topology_once_, [this] {
    topology_ = read_topology();
    if (!topology_.why.empty()) say(level_notice, topology_.why);
  });
  return topology_;
}

void services::device_at(int32_t device, std::string pci_id) {
  const std::lock_guard<std::mutex> lock(devices_mutex_);
  devices_[device] = std::move(pci_id);
}

void services::say(uint32_t level, const std::string &text) const {
  if (log_ != nullptr) log_(log_context_, level, text.c_str());
}

/// No exception may cross into a backend: what runs out of memory on the way is -ENOMEM.
int32_t services::memory_take(uint64_t bytes, uint64_t numa_nodes, cubby_backend_memory *out) try {
  constexpr uint32_t smallest = offsetof(cubby_backend_memory, bytes) + sizeof(uint64_t);
  if (out == nullptr || (out->struct_size != 0 && out->struct_size < smallest)) return -EINVAL;
  touch_plan plan;
  if (numa_nodes != 0) {
    // All nodes together, or the only one, is no constraint: nothing to ask of the kernel.
    const uint64_t everywhere = nodes().memory_nodes();
    if (numa_nodes == everywhere) {
      numa_nodes = 0;
    } else {
      plan.cpus = nodes().cpus_of(numa_nodes);
    }
  }
  const result<host_memory> taken = take_host_memory(bytes, numa_nodes, plan);
  if (!taken) {
    say(level_error, taken.failure().text);
    if (taken.failure().status == CUBBY_ERR_INVALID) return -EINVAL;
    return taken.failure().native != 0 ? -taken.failure().native : -ENOMEM;
  }
  if (taken->bind_errno != 0) {
    say(level_warning,
        format_text("memory is not bound to NUMA nodes 0x%" PRIx64
                    ": %s; allow mbind in the container's seccomp profile, or give CAP_SYS_NICE",
                    numa_nodes, std::strerror(taken->bind_errno)));
  }
  if (bytes >= (uint64_t{2} << 20) && taken->huge_bytes == 0) {
    say(level_notice,
        "no huge pages back this memory, so large reads are split; write \"madvise\" or "
        "\"always\" to /sys/kernel/mm/transparent_hugepage/enabled");
  }
  cubby_backend_memory memory{};
  memory.struct_size = sizeof memory;
  memory.base = taken->base;
  memory.bytes = taken->bytes;
  memory.huge_bytes = taken->huge_bytes;
  memory.numa_nodes = taken->numa_nodes;
  write(memory, out);
  return 0;
} catch (const std::exception &) {
  return -ENOMEM;
}

uint64_t services::nodes_near(int32_t device) try {
  std::string pci_id;
  if (device >= 0) {
    const std::lock_guard<std::mutex> lock(devices_mutex_);
    const auto known = devices_.find(device);
    if (known != devices_.end()) pci_id = known->second;
  }
  return pci_id.empty() ? nodes().memory_nodes() : nodes().nodes_near(pci_id);
} catch (const std::exception &) {
  return 1;
}

}  // namespace cubby::platform
