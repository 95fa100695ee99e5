// A loop over several threads, for first touch. Plain threads that end with the call: a pool would
// leave threads in the process that nobody asked for (see docs/architecture.md on oneTBB).
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace cubby::platform {

/// Processors this process may run on; at least 1.
uint32_t usable_cpu_count() noexcept;

/// Runs work(i) once for every i below `count`, on the calling thread and up to thread_count - 1
/// others, which are bound to `cpus` where that is allowed (empty = anywhere). A thread that cannot
/// be made costs speed only. `work` must not throw. Returns how many threads ran, 1 at least.
uint32_t parallel_for(uint64_t count, uint32_t thread_count, const std::vector<uint32_t> &cpus,
                      const std::function<void(uint64_t)> &work);

}  // namespace cubby::platform
