#include "base/bounded_queue.hpp"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace bounded_queue_test {

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

TEST_CASE("what is pushed together comes out together, or was not taken") {
  constexpr uint32_t chains = 20'000;
  bounded_queue<uint64_t> queue(64);
  uint64_t value = 0;
  std::vector<uint64_t> many(64, 7);
  REQUIRE(queue.push(1));
  CHECK_FALSE(queue.push_all(many.data(), 64));
  CHECK(queue.push_all(many.data(), 63));
  CHECK_FALSE(queue.push(9));
  for (int i = 0; i < 64; ++i) REQUIRE(queue.pop(value));
  CHECK_FALSE(queue.pop(value));

  // A value says whose it is, how many follow it, and of which chain.
  std::atomic<uint32_t> done{0};
  const auto produce = [&](uint64_t producer) {
    uint64_t chain[8];
    for (uint64_t i = 0; i < chains; ++i) {
      const uint64_t count = 1 + (i * 7 + producer) % 8;
      for (uint64_t k = 0; k < count; ++k) chain[k] = producer << 40 | i << 8 | (count - 1 - k);
      while (!queue.push_all(chain, count)) std::this_thread::yield();
    }
    ++done;
  };
  std::vector<std::thread> producers;
  for (const uint64_t producer : {1U, 2U, 3U}) producers.emplace_back(produce, producer);
  uint64_t before = 0, torn = 0, ended = 0;
  for (;;) {
    const bool all = done.load() == producers.size();
    if (!queue.pop(value)) {
      if (all) break;
      std::this_thread::yield();
      continue;
    }
    if ((before & 0xFF) != 0 && value != before - 1) ++torn;
    if ((value & 0xFF) == 0) ++ended;
    before = value;
  }
  for (std::thread &one : producers) one.join();
  CHECK(torn == 0);
  CHECK(ended == uint64_t{3} * chains);
}

}  // namespace bounded_queue_test
