// Which processors a thread may run on.
#pragma once

#include <sched.h>

#include <cstdint>
#include <vector>

namespace cubby::platform {

/// Of the calling thread; `known` is false where the system did not say.
struct affinity {
  cpu_set_t cpus{};
  bool known = false;
};

/// Processors this process may run on; at least 1.
uint32_t usable_cpu_count() noexcept;

affinity current_affinity() noexcept;
void restore_affinity(const affinity &before) noexcept;
/// Keeps the calling thread on the named processors. A refusal (processors outside our cgroup)
/// leaves it where it is, and so does an empty list.
void run_on(const std::vector<uint32_t> &cpus) noexcept;

}  // namespace cubby::platform
