#include "residency/locker_word.hpp"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

#include "support/catch.hpp"

namespace locker_word_test {

using namespace cubby::residency;

TEST_CASE("a locker can be pinned only while it is ready") {
  locker_word word;
  uint64_t frame = 0;
  CHECK(word.pin(frame) == pin_outcome::not_ready);
  word.begin_fill(77, 5);
  CHECK(word.pin(frame) == pin_outcome::not_ready);
  word.publish(77, 0);
  CHECK(word.pin(frame) == pin_outcome::pinned);
  CHECK(frame == 77);
  CHECK(word.look().generation == 5);
  CHECK_FALSE(word.begin_evict());
  CHECK(word.unpin());
  CHECK(word.begin_evict());
  CHECK(word.pin(frame) == pin_outcome::not_ready);
  word.clear();
  CHECK(word.look().state == locker_state::absent);
}

TEST_CASE("those who waited hold the locker from the moment it is published") {
  locker_word word;
  word.begin_fill(locker_word::frame_max, 511);
  word.publish(locker_word::frame_max, 2);
  CHECK(word.look().frame == locker_word::frame_max);
  CHECK_FALSE(word.begin_evict());
  CHECK_FALSE(word.unpin());
  CHECK(word.unpin());
  CHECK(word.begin_evict());
}

TEST_CASE("the pin count stops at its ceiling and never spills into the state") {
  locker_word word;
  word.begin_fill(1, 0);
  word.publish(1, locker_word::pins_max);
  uint64_t frame = 0;
  CHECK(word.pin(frame) == pin_outcome::saturated);
  CHECK(word.look().state == locker_state::ready);
  CHECK(word.look().pin_count == locker_word::pins_max);
}

TEST_CASE("neighbours do not share a cache line and no two lockers share a word") {
  const uint32_t count = GENERATE(1u, 63u, 512u, 513u, 2000u, 32768u);
  const word_places places(count);
  CHECK(places.size() <= count + count / 8 + 1024);
  std::vector<bool> taken(places.size());
  for (uint32_t number = 0; number < count; ++number) {
    const uint64_t position = places.of(number);
    REQUIRE(position < taken.size());
    REQUIRE(places.number_at(position) == number);
    if (taken[position]) FAIL("locker " << number);
    taken[position] = true;
    for (uint32_t next = number + 1; next < std::min(number + 64, count); ++next) {
      if (position / 8 == places.of(next) / 8) FAIL("lockers " << number << " and " << next);
    }
  }
}

TEST_CASE("bytes under a pin are never those of a later fill") {
  constexpr uint64_t rounds = 3000;
  locker_word word;
  uint64_t bytes = 0;  // plain memory: the thread sanitizer sees it if a fill overlaps a pin
  std::atomic<bool> stop{false};
  std::atomic<uint64_t> wrong{0};

  auto read = [&] {
    while (!stop.load()) {
      uint64_t frame = 0;
      if (word.pin(frame) != pin_outcome::pinned) continue;
      if (bytes != frame) wrong.fetch_add(1);
      word.unpin();
    }
  };
  std::thread first(read);
  std::thread second(read);
  for (uint64_t round = 1; round <= rounds; ++round) {
    word.begin_fill(round, round);
    bytes = round;
    word.publish(round, 0);
    while (!word.begin_evict()) std::this_thread::yield();
    word.clear();
  }
  stop.store(true);
  first.join();
  second.join();
  CHECK(wrong.load() == 0);
}

}  // namespace locker_word_test
