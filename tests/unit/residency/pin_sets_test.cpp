#include "residency/pin_sets.hpp"

#include <algorithm>
#include <vector>

#include "support/catch.hpp"

namespace pin_sets_test {

using namespace cubby::residency;
using outcome = pin_sets::outcome;

namespace {

struct lockers {
  std::vector<locker_word> words;
  uint32_t tier = 0;

  explicit lockers(uint32_t count) : words(count) {
    for (locker_word &word : words) {
      word.begin_fill(1, 0);
      word.publish(1, 0);
    }
  }
  /// A set that holds them all.
  cubby_pins pin(pin_sets &sets) {
    pin_set *const set = sets.take(0);
    REQUIRE(set != nullptr);
    const auto count = static_cast<uint32_t>(words.size());
    if (count > set->room) pin_sets::make_room(*set, count);
    set->describe(count, tier, false);
    for (uint32_t i = 0; i < set->size(); ++i) {
      uint64_t frame = 0;
      REQUIRE(words[i].pin(frame) == pin_outcome::pinned);
      set->items()[i] = &words[i];
    }
    return sets.open(*set, set->size(), pin_sets::content::whole);
  }
  [[nodiscard]] uint64_t pins() const {
    uint64_t count = 0;
    for (const locker_word &word : words) count += word.look().pin_count;
    return count;
  }
};

bool claim(pin_sets &sets, cubby_pins handle, uint32_t first, uint32_t count) {
  pin_set *const set = sets.find(handle);
  if (set == nullptr || !pin_sets::claim_whole(*set, handle, first, count)) return false;
  pin_sets::unpin_all(*set);
  sets.give_back(*set, 0);
  return true;
}

}  // namespace

TEST_CASE("a whole set is claimed once; its handle, the next one and foreign ones are refused") {
  pin_sets sets(8, 5);
  const uint32_t count = GENERATE(1u, 16u, 17u, 31u);
  lockers some(count);
  const cubby_pins handle = some.pin(sets);
  CHECK_FALSE(claim(sets, handle, 1, 0));
  CHECK_FALSE(claim(sets, handle + (uint64_t{1} << 32), 0, 0));
  CHECK_FALSE(claim(sets, handle | 0xFFFF, 0, 0));
  CHECK(some.pins() == count);
  CHECK(claim(sets, handle, 0, GENERATE(0u, 1u) * count));
  CHECK(some.pins() == 0);
  CHECK_FALSE(claim(sets, handle, 0, 0));
  CHECK(sets.release(handle, 0, 0, 0).what == outcome::stale);
  const cubby_pins guessed = handle + (uint64_t{1} << 32);  // what the set will be called next
  CHECK_FALSE(claim(sets, guessed, 0, 0));
  CHECK(sets.release(guessed, 0, 0, 0).what == outcome::twice);
  CHECK(some.pin(sets) == guessed);
}

TEST_CASE("a set of which a part was released, and a large one, are released by parts") {
  pin_sets sets(8, 5);
  const uint32_t count = GENERATE(4u, 31u, 32u, 100u);
  lockers some(count);
  const cubby_pins handle = some.pin(sets);
  CHECK(sets.release(handle, 1, 2, 0).what == outcome::released);
  CHECK(sets.release(handle, 2, 2, 0).what == outcome::twice);
  CHECK(sets.release(handle, count, 1, 0).what == outcome::out_of_range);
  CHECK_FALSE(claim(sets, handle, 0, 0));
  CHECK(some.pins() == count - 2);
  CHECK(sets.release(handle, 0, 0, 0).what == outcome::released);
  CHECK(some.pins() == 0);
  CHECK(sets.release(handle, 0, 0, 0).what == outcome::stale);
  const cubby_pins again = some.pin(sets);
  CHECK(claim(sets, again, 0, 0) == (count <= 31));
}

TEST_CASE("a thread that has no set left takes those of others") {
  pin_sets sets(4, 5);
  std::vector<pin_set *> held;
  for (int i = 0; i < 4; ++i) held.push_back(sets.take(3));
  CHECK(held.back() != nullptr);
  CHECK(sets.take(3) == nullptr);
  sets.give_back(*held[0], 7);
  sets.give_back(*held[1], 7);
  CHECK(sets.take(3) != nullptr);
  CHECK(sets.take(3) != nullptr);
  CHECK(sets.take(3) == nullptr);
}

TEST_CASE("all words that open sets of a tier hold are named, and none of released sets") {
  pin_sets sets(64, 5);
  const uint32_t count = GENERATE(1u, 16u, 31u, 32u, 100u);
  lockers some(count);
  lockers others(3);
  others.tier = 1;
  const auto named = [&](uint32_t tier, const lockers &which) {
    uint32_t found = 0;
    sets.any_named(tier, [&](const locker_word *word) {
      found += word >= which.words.data() && word < which.words.data() + which.words.size();
      return false;
    });
    return found;
  };
  CHECK(named(0, some) == 0);
  const cubby_pins handle = some.pin(sets);
  others.pin(sets);
  CHECK(named(0, some) == count);
  CHECK(named(0, others) == 0);
  CHECK(named(1, others) == 3);
  // All marks of the first word are set, and the set is still held.
  if (count > 31) {
    REQUIRE(sets.release(handle, 0, 31, 0).what == outcome::released);
    CHECK(named(0, some) == count);
  }
  REQUIRE(sets.release(handle, count - 1, 1, 0).what == outcome::released);
  const bool all_released = count == 1 || count == 32;
  CHECK((named(0, some) == 0) == all_released);
  if (!all_released) REQUIRE(sets.release(handle, 0, 0, 0).what == outcome::released);
  CHECK(named(0, some) == 0);
  const cubby_pins again = some.pin(sets);
  if (count <= 31) {
    REQUIRE(claim(sets, again, 0, 0));
    CHECK(named(0, some) == 0);
  }
}

TEST_CASE("a set that has grown has marks for as many items as it has room for") {
  pin_sets sets(2, 5);
  for (const uint32_t count : {40u, 50u, 75u, 79u, 200u}) {
    lockers some(count);
    const cubby_pins handle = some.pin(sets);
    CHECK(sets.release(handle, count - 1, 1, 0).what == outcome::released);
    CHECK(sets.release(handle, count - 1, 1, 0).what == outcome::twice);
    CHECK(sets.release(handle, 0, 0, 0).what == outcome::released);
    CHECK(some.pins() == 0);
  }
}

}  // namespace pin_sets_test
