#include "platform/services.hpp"

#include "base/clock.hpp"
#include "platform/host_memory.hpp"

namespace cubby::platform {
namespace {

int32_t take(void *, uint64_t bytes, uint64_t numa_nodes, cubby_backend_memory *out) {
  auto memory = take_host_memory(bytes, numa_nodes);
  if (!memory) return memory.failure().native != 0 ? -memory.failure().native : -12;
  out->base = memory->base;
  out->bytes = memory->bytes;
  out->huge_bytes = memory->huge_bytes;
  out->numa_nodes = 0;
  out->registered = 0;
  out->handle = 0;
  return 0;
}

void give(void *, const cubby_backend_memory *memory) {
  give_host_memory({memory->base, memory->bytes, memory->huge_bytes});
}

}  // namespace

services::services(log_function log, void *context) : log_(log), context_(context) {
  table_.struct_size = sizeof table_;
  table_.abi_version = CUBBY_BACKEND_ABI_VERSION;
  table_.context = this;
  table_.memory_take = take;
  table_.memory_give = give;
  table_.nodes_near = [](void *, int32_t) -> uint64_t { return 1; };
  table_.log = [](void *self, uint32_t level, const char *text) {
    const auto *of = static_cast<const services *>(self);
    of->log_(of->context_, level, text);
  };
  table_.now_ns = [](void *) -> uint64_t { return base::now_ns(); };
}

}  // namespace cubby::platform
