// The house as a backend sees it, for tests: plain aligned memory, kept log lines, a real clock.
#pragma once
#include <cubby/backend.h>
#include <time.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace cubby_test {

struct test_services {
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
    table.log = [](void *context, uint32_t, const char *text) {
      static_cast<test_services *>(context)->lines.emplace_back(text);
    };
    table.now_ns = [](void *) { return now(); };
    return table;
  }

  static uint64_t now() {
    timespec time{};
    clock_gettime(CLOCK_MONOTONIC, &time);
    return static_cast<uint64_t>(time.tv_sec) * 1'000'000'000u +
           static_cast<uint64_t>(time.tv_nsec);
  }

 private:
  static int32_t take(void *context, uint64_t bytes, uint64_t, cubby_backend_memory *out) {
    const uint64_t align = bytes >= (2u << 20) ? (2u << 20) : 4096u;
    const uint64_t rounded = (bytes + align - 1) / align * align;
    void *base = std::aligned_alloc(align, rounded);
    if (base == nullptr) return -ENOMEM;
    std::memset(base, 0, rounded);
    *out = cubby_backend_memory{};
    out->struct_size = sizeof *out;
    out->base = base;
    out->bytes = rounded;
    ++static_cast<test_services *>(context)->memory_out;
    return 0;
  }
  static void give(void *context, const cubby_backend_memory *memory) {
    std::free(memory->base);
    --static_cast<test_services *>(context)->memory_out;
  }
};

}  // namespace cubby_test
