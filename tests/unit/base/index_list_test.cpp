#include "base/index_list.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace index_list_test {

using namespace cubby::base;

TEST_CASE("a stack gives the newest first and then says that it is empty") {
  index_stack list(3);
  CHECK(list.pop() == no_list_index);
  for (const uint32_t index : {2u, 0u, 1u}) list.push(index);
  CHECK(list.pop() == 1);
  CHECK(list.pop() == 0);
  list.push(1);
  CHECK(list.take_all() == 1);
  CHECK(list.below(1) == 2);
  CHECK(list.below(2) == no_list_index);
  CHECK(list.pop() == no_list_index);
}

TEST_CASE("an inbox keeps the order of coming") {
  index_inbox inbox(4);
  CHECK(inbox.pop() == no_list_index);
  for (const uint32_t index : {3u, 1u}) inbox.push(index);
  CHECK(inbox.pop() == 3);
  for (const uint32_t index : {0u, 3u}) inbox.push(index);
  CHECK(inbox.pop() == 1);
  CHECK(inbox.pop() == 0);
  CHECK(inbox.pop() == 3);
  CHECK(inbox.pop() == no_list_index);
}

TEST_CASE("a stack with an index for every thread is never empty to one of them") {
  constexpr uint32_t threads_count = 4, rounds = 200'000;
  index_stack list(threads_count);
  for (uint32_t i = 0; i < threads_count; ++i) list.push(i);
  std::vector<std::atomic<uint32_t>> held(threads_count);
  std::atomic<uint32_t> none_count{0}, shared_count{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < threads_count; ++t) {
    threads.emplace_back([&] {
      for (uint32_t i = 0; i < rounds; ++i) {
        const uint32_t index = list.pop();
        if (index == no_list_index) {
          ++none_count;
          continue;
        }
        if (held[index].fetch_add(1) != 0) ++shared_count;
        held[index].fetch_sub(1);
        list.push(index);
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  CHECK(none_count == 0);
  CHECK(shared_count == 0);
}

TEST_CASE("an inbox loses nothing and keeps each producer's order") {
  constexpr uint32_t producers = 3, each = 20'000;
  index_inbox inbox(producers * each);
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < producers; ++t) {
    threads.emplace_back([&, t] {
      for (uint32_t i = 0; i < each; ++i) inbox.push(t * each + i);
    });
  }
  std::vector<uint32_t> seen(producers, 0);
  uint32_t total = 0, disordered = 0;
  while (total < producers * each) {
    const uint32_t index = inbox.pop();
    if (index == no_list_index) {
      std::this_thread::yield();
      continue;
    }
    ++total;
    if (seen[index / each]++ != index % each) ++disordered;
  }
  for (std::thread &thread : threads) thread.join();
  CHECK(disordered == 0);
  CHECK(inbox.pop() == no_list_index);
}

}  // namespace index_list_test
