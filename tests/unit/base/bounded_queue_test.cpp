#include "base/bounded_queue.hpp"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using cubby::base::bounded_queue;

TEST_CASE("a full queue says so and loses nothing") {
  bounded_queue<int> queue(4);
  for (int round = 0; round < 3; ++round) {
    for (int i = 0; i < 4; ++i) CHECK(queue.push(i));
    CHECK_FALSE(queue.push(99));
    int value = -1;
    for (int i = 0; i < 4; ++i) {
      REQUIRE(queue.pop(value));
      CHECK(value == i);
    }
    CHECK_FALSE(queue.pop(value));
  }
}

TEST_CASE("every value pushed by many threads is popped exactly once") {
  constexpr uint64_t per_producer = 20'000;
  bounded_queue<uint64_t> queue(64);
  std::vector<std::atomic<uint32_t>> seen(2 * per_producer);
  std::atomic<uint64_t> popped{0};

  auto produce = [&](uint64_t first) {
    for (uint64_t value = first; value < first + per_producer; ++value) {
      while (!queue.push(value)) std::this_thread::yield();
    }
  };
  auto consume = [&] {
    uint64_t value = 0;
    while (popped.load() < seen.size()) {
      if (!queue.pop(value)) {
        std::this_thread::yield();
        continue;
      }
      seen[value].fetch_add(1);
      popped.fetch_add(1);
    }
  };
  std::vector<std::thread> threads;
  threads.emplace_back(produce, 0);
  threads.emplace_back(produce, per_producer);
  threads.emplace_back(consume);
  threads.emplace_back(consume);
  for (std::thread &thread : threads) thread.join();

  uint64_t wrong = 0;
  for (const auto &count : seen) wrong += count.load() != 1;
  CHECK(wrong == 0);
}
