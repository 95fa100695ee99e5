// Without oneTBB: plain threads that end with the loop.
#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>

#include "platform/affinity.hpp"
#include "platform/parallel.hpp"

namespace cubby::platform {

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
        run_on(cpus);
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
