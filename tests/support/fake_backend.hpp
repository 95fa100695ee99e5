// A backend of files and memory for unit tests: what is started waits until the test completes it.
#pragma once

#include <cubby/backend.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <vector>

#include "support/catch.hpp"
#include "tier/backend_instance.hpp"

namespace cubby_test {

struct fake_world {
  uint32_t queue_depth = 32, accepts_max = ~uint32_t{0};
  uint64_t block_bytes_max = ~uint64_t{0};  // of memory that there is in one piece
  uint32_t submit_boast = 0;                // submit() says so many more than it took
  uint32_t capabilities = CUBBY_CAP_FILES, emulated = 0;
  cubby_backend_file file{};  // what its files are looked at as
  std::vector<cubby_backend_io> started;
  std::deque<cubby_backend_done> ended;
  std::vector<std::pair<void *, uint64_t>> registered;

  void end(size_t at, int32_t error = 0) {
    ended.push_back({started[at].cookie, error == 0 ? started[at].bytes : 0, error, 0});
  }
  void end_short(size_t at, uint64_t bytes) { ended.push_back({started[at].cookie, bytes, 0, 0}); }
};

namespace fake {

inline fake_world &world_of(cubby_backend *backend) {
  return *reinterpret_cast<fake_world *>(backend);
}
inline int32_t open(const cubby_backend_services *, const cubby_backend_config *config,
                    cubby_backend **out) {
  *out = static_cast<cubby_backend *>(config->user);
  return 0;
}
inline void close(cubby_backend *) {}
inline int32_t describe(cubby_backend *backend, cubby_backend_info *out) {
  out->capabilities = world_of(backend).capabilities;
  out->emulated = world_of(backend).emulated;
  out->align_bytes = 4096;
  out->queue_depth = world_of(backend).queue_depth;
  out->io_bytes_max = 2u << 20;
  return 0;
}
/// Blocks of at least so many bytes are addresses alone until they are written to.
constexpr uint64_t lazy_bytes_min = uint64_t{64} << 20;

inline int32_t memory_reserve(cubby_backend *backend, uint64_t bytes, cubby_backend_memory *out) {
  if (backend != nullptr && bytes > world_of(backend).block_bytes_max) return -ENOMEM;
  out->bytes = bytes;
  if (bytes >= lazy_bytes_min) {
    out->base = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return out->base != MAP_FAILED ? 0 : -ENOMEM;
  }
  out->base = std::aligned_alloc(size_t{2} << 20, (bytes + (2u << 20) - 1) >> 21 << 21);
  std::memset(out->base, 0, bytes);
  return 0;
}
inline void memory_release(cubby_backend *, const cubby_backend_memory *memory) {
  if (memory->bytes >= lazy_bytes_min) {
    ::munmap(memory->base, memory->bytes);
    return;
  }
  std::free(memory->base);
}
inline int32_t memory_register(cubby_backend *backend, void *base, uint64_t bytes) {
  world_of(backend).registered.emplace_back(base, bytes);
  return 0;
}
inline void memory_unregister(cubby_backend *backend, void *base, uint64_t bytes) {
  std::erase(world_of(backend).registered, std::pair(base, bytes));
}
inline int32_t file_open(cubby_backend *, const char *, uint32_t, cubby_backend_file *out) {
  out->file = 1;
  return 0;
}
inline int32_t file_stat(cubby_backend *backend, uint32_t, cubby_backend_file *out) {
  *out = world_of(backend).file;
  return 0;
}
inline void file_close(cubby_backend *, uint32_t) {}
inline uint32_t submit(cubby_backend *backend, uint64_t, const cubby_backend_io *ios,
                       uint32_t count) {
  fake_world &world = world_of(backend);
  const uint32_t taken = std::min(count, world.accepts_max);
  world.started.insert(world.started.end(), ios, ios + taken);
  return taken + world.submit_boast;
}
inline uint32_t reap(cubby_backend *backend, uint64_t, cubby_backend_done *out, uint32_t max_count,
                     uint64_t *next_ns) {
  fake_world &world = world_of(backend);
  *next_ns = ~uint64_t{0};
  uint32_t count = 0;
  while (count < max_count && !world.ended.empty()) {
    out[count++] = world.ended.front();
    world.ended.pop_front();
  }
  return count;
}
inline int32_t wait(cubby_backend *, uint64_t, int) { return 0; }

}  // namespace fake

inline cubby::tier::backend_kind fake_kind(fake_world &world) {
  cubby::tier::backend_kind kind;
  kind.ops.struct_size = sizeof kind.ops;
  kind.ops.abi_version = CUBBY_BACKEND_ABI_VERSION;
  kind.ops.name = "fake";
  kind.ops.capabilities = world.capabilities;
  kind.ops.open = fake::open;
  kind.ops.close = fake::close;
  kind.ops.describe = fake::describe;
  kind.ops.memory_reserve = fake::memory_reserve;
  kind.ops.memory_release = fake::memory_release;
  kind.ops.memory_register = fake::memory_register;
  kind.ops.memory_unregister = fake::memory_unregister;
  kind.ops.file_open = fake::file_open;
  kind.ops.file_stat = fake::file_stat;
  kind.ops.file_close = fake::file_close;
  kind.ops.submit = fake::submit;
  kind.ops.reap = fake::reap;
  kind.ops.wait = fake::wait;
  kind.user = &world;
  kind.in_process = true;
  return kind;
}

inline std::unique_ptr<cubby::tier::backend_instance> open_fake(fake_world &world) {
  static const cubby_backend_services services{};
  cubby_backend_config config{};
  config.struct_size = sizeof config;
  config.device = -1;
  config.name = "fake";
  config.user = &world;
  auto opened = cubby::tier::backend_instance::open(fake_kind(world), services, config);
  REQUIRE(opened.ok());
  return std::move(*opened);
}

}  // namespace cubby_test
