// Places for requests: tickets of one generation, room for demand, and an inbox that keeps order.
#include "engine/request_table.hpp"

#include <thread>

#include "support/catch.hpp"

namespace request_table_test {

using namespace cubby::engine;

TEST_CASE("all places can be taken, and a place that is given back has another generation") {
  request_table table(4, 9);
  std::vector<uint32_t> taken;
  for (int i = 0; i < 4; ++i) taken.push_back(table.take(false));
  CHECK(table.take(false) == no_index);
  const uint64_t before = table[taken[2]].life.load();
  table.give(taken[2]);
  CHECK(table.take(false) == taken[2]);
  CHECK(generation_of(table[taken[2]].life.load()) == generation_of(before) + 1);
}

TEST_CASE("requests that nobody hears of have at most half of the places") {
  request_table table(6, 0);
  std::vector<uint32_t> hints;
  for (uint32_t index = table.take(true); index != no_index; index = table.take(true)) {
    hints.push_back(index);
  }
  CHECK(hints.size() == 3);
  CHECK(table.take(false) != no_index);
  table.give(hints[0]);
  CHECK(table.take(true) != no_index);
}

TEST_CASE("the inbox gives what was submitted, in order, once") {
  request_table table(8, 0);
  std::vector<uint32_t> submitted;
  for (int i = 0; i < 5; ++i) {
    submitted.push_back(table.take(false));
    table.submit(submitted.back());
    CHECK(state_of(table[submitted.back()].life.load()) == request_state::accepted);
  }
  CHECK(table.has_accepted());
  for (const uint32_t index : submitted) CHECK(table.accept() == index);
  CHECK_FALSE(table.has_accepted());
  CHECK(table.accept() == no_index);
}

TEST_CASE("threads that take and give at once never find a place missing") {
  request_table table(2, 0);
  std::atomic<uint32_t> missing{0};
  const auto take_and_give = [&] {
    for (int i = 0; i < 100'000; ++i) {
      const uint32_t index = table.take(false);
      if (index == no_index) {
        ++missing;
      } else {
        table.give(index);
      }
    }
  };
  std::thread other(take_and_give);
  take_and_give();
  other.join();
  CHECK(missing.load() == 0);
}

}  // namespace request_table_test
