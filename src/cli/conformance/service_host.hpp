// The library as a backend sees it: services over plain memory and the real clock, which keep what
// was said and count what was taken. Any thread may call them.
#pragma once
#include <cubby/backend.h>
#include <time.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <string>
#include <vector>

namespace cubby_conformance {

inline constexpr uint64_t never_ns = ~uint64_t{0};

inline uint64_t clock_ns() {
  timespec time{};
  clock_gettime(CLOCK_MONOTONIC, &time);
  return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(time.tv_nsec);
}

struct service_host {
  std::mutex mutex;
  std::vector<std::string> lines;
  int memory_out = 0;  // pieces taken and not given back

  cubby_backend_services services() {
    cubby_backend_services table{};
    table.struct_size = sizeof table;
    table.abi_version = CUBBY_BACKEND_ABI_VERSION;
    table.context = this;
    table.memory_take = take;
    table.memory_give = give;
    table.nodes_near = [](void *, int32_t) { return uint64_t{1}; };
    table.log = [](void *context, uint32_t, const char *line) {
      service_host &self = of(context);
      const std::lock_guard lock(self.mutex);
      self.lines.emplace_back(line == nullptr ? "" : line);
    };
    table.now_ns = [](void *) { return clock_ns(); };
    return table;
  }

 private:
  static service_host &of(void *context) { return *static_cast<service_host *>(context); }

  static int32_t take(void *context, uint64_t bytes, uint64_t, cubby_backend_memory *out) {
    // More than any machine has: refused here, since a sanitizer's allocator would end the program.
    if (bytes == 0 || out == nullptr) return -EINVAL;
    if (bytes > (uint64_t{1} << 36)) return -ENOMEM;
    const uint64_t align = bytes >= (2u << 20) ? (2u << 20) : 4096u;
    const uint64_t rounded = (bytes + align - 1) / align * align;
    void *base = std::aligned_alloc(align, rounded);
    if (base == nullptr) return -ENOMEM;
    std::memset(base, 0, rounded);
    cubby_backend_memory value{};
    value.struct_size = out->struct_size == 0 ? uint32_t{sizeof value} : out->struct_size;
    value.base = base;
    value.bytes = rounded;
    std::memcpy(out, &value, std::min<size_t>(sizeof value, value.struct_size));
    const std::lock_guard lock(of(context).mutex);
    ++of(context).memory_out;
    return 0;
  }
  static void give(void *context, const cubby_backend_memory *memory) {
    if (memory == nullptr) return;
    std::free(memory->base);
    const std::lock_guard lock(of(context).mutex);
    --of(context).memory_out;
  }
};

}  // namespace cubby_conformance
