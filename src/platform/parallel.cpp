#include "platform/parallel.hpp"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

namespace cubby::platform {
namespace {

void keep_on(const std::vector<uint32_t> &cpus) noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  uint32_t named_count = 0;
  for (const uint32_t cpu : cpus) {
    if (cpu >= CPU_SETSIZE) continue;
    CPU_SET(cpu, &set);
    ++named_count;
  }
  // A refusal (processors outside our cgroup) leaves the thread where it is.
  if (named_count != 0) ::sched_setaffinity(0, sizeof set, &set);
}

}  // namespace

uint32_t usable_cpu_count() noexcept {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0 && CPU_COUNT(&set) > 0) {
    return static_cast<uint32_t>(CPU_COUNT(&set));
  }
  return std::max(1u, std::thread::hardware_concurrency());
}

uint32_t parallel_for(uint64_t count, uint32_t thread_count, const std::vector<uint32_t> &cpus,
                      const std::function<void(uint64_t)> &work) {
  std::atomic<uint64_t> next{0};
  const auto run = [&]() noexcept {
    for (uint64_t i = next.fetch_add(1, std::memory_order_relaxed); i < count;
         i = next.fetch_add(1, std::memory_order_relaxed)) {
      work(i);
    }
  };
  std::vector<std::thread> threads;
  const uint64_t wanted = std::min<uint64_t>(thread_count, count);
  try {
    threads.reserve(wanted);
    while (threads.size() + 1 < wanted) {
      threads.emplace_back([&]() noexcept {
        keep_on(cpus);
        run();
      });
    }
  } catch (const std::exception &) {
    // No room for another stack, or too many threads: those that run do the work.
  }
  run();
  for (std::thread &thread : threads) thread.join();
  return static_cast<uint32_t>(threads.size()) + 1;
}

}  // namespace cubby::platform
