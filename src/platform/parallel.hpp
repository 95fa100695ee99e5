// Loops on several threads (first touch). The threads are oneTBB's, shared by all runtimes of the
// process and by the program's own use of oneTBB; they are started when there is work and end with
// the last loop. A build without oneTBB uses plain threads.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace cubby::platform {

/// Runs work(i) once for every i below `count`, on the calling thread and up to thread_count - 1
/// others, which run on `cpus` where that is allowed (empty = anywhere); never more than one a
/// processor. A thread that cannot be had costs speed only. `work` must not throw. Returns how many
/// threads ran, 1 at least.
uint32_t parallel_for(uint64_t count, uint32_t thread_count, const std::vector<uint32_t> &cpus,
                      const std::function<void(uint64_t)> &work);

}  // namespace cubby::platform
