#include "platform/affinity.hpp"

#include <algorithm>
#include <thread>

namespace cubby::platform {

uint32_t usable_cpu_count() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
    return static_cast<uint32_t>(CPU_COUNT(&set));
  }
  return std::max(1u, std::thread::hardware_concurrency());
}

affinity current_affinity() noexcept {
  affinity now;
  now.known = ::sched_getaffinity(0, sizeof now.cpus, &now.cpus) == 0;
  return now;
}

void restore_affinity(const affinity &before) noexcept {
  if (before.known) ::sched_setaffinity(0, sizeof before.cpus, &before.cpus);
}

void run_on(const std::vector<uint32_t> &cpus) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  uint32_t named_count = 0;
  for (const uint32_t cpu : cpus) {
    if (cpu >= CPU_SETSIZE) continue;
    CPU_SET(cpu, &set);
    ++named_count;
  }
  if (named_count != 0) ::sched_setaffinity(0, sizeof set, &set);
}

}  // namespace cubby::platform
