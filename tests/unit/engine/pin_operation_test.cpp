// Pins of which something was absent: hits and fills at once, or a wait that holds nothing.
#include "engine/operations/pin.hpp"

#include "support/operation_fixture.hpp"

namespace pin_operation_test {

using namespace cubby;
using namespace cubby::engine;

namespace {

struct fixture : cubby_test::operation_fixture {
  pin_operation pins{units};

  uint32_t begin_pin(const std::vector<uint32_t> &numbers) { return begin(pin_verb{}, numbers); }
  uint32_t granted(const std::vector<uint32_t> &numbers) {
    const uint32_t index = begin_pin(numbers);
    REQUIRE(pins.grant(index));
    return index;
  }
};

}  // namespace

TEST_CASE("hits are marked at once, what is missing loads, and the pin ends with the last of it") {
  fixture h;
  h.land(h.bank, h.near, 0);
  const uint32_t index = h.granted({0, 1, 2});
  CHECK(h.status[0] == CUBBY_OK);
  CHECK(h.status[1] == CUBBY_PENDING);
  CHECK(h.word(0).pin_count == 1);
  CHECK(h.state.tiers[h.near].stats.hit_count == 1);
  CHECK(h.state.tiers[h.near].stats.miss_count == 2);
  const auto fill = static_cast<uint32_t>(h.word(1).frame);
  CHECK(h.table[fill].state == fill_state::active);
  CHECK(h.table[fill].from == h.far);
  CHECK(h.requests[index].items[1].fill == fill);
  CHECK_FALSE(h.requests[index].items[1].joined);
  h.arrive(2);
  CHECK_FALSE(h.has_ended(index));
  h.arrive(1);
  CHECK(h.requests[index].status == CUBBY_OK);
  for (const uint32_t number : {0u, 1u, 2u}) CHECK(h.word(number).pin_count == 1);
}

TEST_CASE("a fill that another began is joined, and a locker named twice is pinned twice") {
  fixture h;
  h.granted({1});
  const uint32_t index = h.granted({1, 1});
  CHECK(h.used_frames() == 1);
  CHECK(h.requests[index].items[0].joined);
  h.arrive(1);
  CHECK(h.requests[index].status == CUBBY_OK);
  CHECK(h.word(1).pin_count == 3);
}

TEST_CASE("without room for all a pin waits and holds nothing, and goes on once there is room") {
  fixture h;
  for (const uint32_t number : {7u, 8u, 9u}) {
    h.land(h.bank, h.near, number);
    h.hold(number);
  }
  const uint32_t index = h.begin_pin({1, 2});
  CHECK_FALSE(h.pins.grant(index));
  CHECK(h.used_frames() == 3);
  CHECK(h.word(1).state == locker_state::absent);
  CHECK_FALSE(h.pins.refuse_impossible(index));  // it fits the budget
  CHECK_FALSE(h.pins.expire(index));
  h.bank.word(h.near, 9).unpin();
  h.state.now_ns += 500;
  CHECK(h.pins.grant(index));
  CHECK(h.requests[index].granted_ns == h.state.now_ns);
  CHECK(h.word(9).state == locker_state::absent);
  h.arrive(1);
  h.arrive(2);
  CHECK(h.requests[index].status == CUBBY_OK);
}

TEST_CASE("what is nowhere fails alone") {
  fixture h;
  const uint32_t index = h.granted({1, h.present_count});
  CHECK(h.status[1] == CUBBY_MISS);
  CHECK_FALSE(h.has_ended(index));
  h.arrive(1);
  CHECK(h.requests[index].status == CUBBY_PARTIAL);
  CHECK(h.requests[index].failure.id == CUBBY_ID(h.bank.handle, h.present_count));
  const uint32_t nothing = h.granted({h.present_count});
  CHECK(h.requests[nothing].status == CUBBY_MISS);
}

TEST_CASE("a locker that is pinned as often as can be fails, and its set takes no other") {
  fixture h;
  h.land(h.bank, h.near, 0);
  for (uint64_t i = 0; i < locker_word::pins_max; ++i) h.hold(0);
  const uint32_t index = h.granted({0});
  CHECK(h.requests[index].status == CUBBY_ERR_BUSY);
  CHECK(h.word(0).pin_count == locker_word::pins_max);
}

TEST_CASE(
    "a set above a budget that was lowered is refused with what is enough; one named twice is "
    "not") {
  fixture h;
  REQUIRE(h.setup.resize(h.near, 2 * h.page).ok());
  const uint32_t fits = h.begin_pin({1, 2, 1});
  CHECK_FALSE(h.pins.refuse_impossible(fits));
  CHECK_FALSE(h.has_ended(fits));
  const uint32_t index = h.begin_pin({1, 2, 3});
  CHECK(h.pins.refuse_impossible(index));
  const request &r = h.requests[index];
  CHECK(r.status == CUBBY_ERR_BUDGET);
  CHECK(r.failure.needed_bytes == 3 * h.page);
  CHECK(r.failure.tier == h.state.tiers[h.near].handle);
  CHECK(r.failure.text.find("lowered to 8192") != std::string::npos);
}

TEST_CASE("a set that does not fit though the tier was emptied for it fails instead of waiting") {
  fixture h;
  h.land(h.bank, h.near, 0);
  const uint32_t index = h.begin_pin({0, 1, 2, 3, 4});
  CHECK(h.pins.grant(index));
  CHECK(h.requests[index].status == CUBBY_ERR_BUDGET);
  CHECK(h.used_frames() == 0);
  CHECK(h.table.empty());
}

TEST_CASE("lockers that blocks of memory do not hold together get one that does") {
  constexpr uint64_t locker_bytes = uint64_t{700} << 20;
  fixture h;
  locker_bank &large = h.add_bank(3, locker_bytes);
  REQUIRE(h.setup.resize(h.far, uint64_t{4} << 30).ok());
  for (const uint32_t number : {0u, 1u, 2u}) h.land(large, h.far, number);
  REQUIRE(h.setup.resize(h.near, 3 * locker_bytes).ok());
  const uint32_t index = h.make_request(pin_verb{}, h.near, large, {0, 1, 2});
  h.open.open(index);
  CHECK(h.pins.grant(index));
  CHECK_FALSE(h.has_ended(index));
  CHECK(h.state.tiers[h.near].memory->used_bytes() == 3 * locker_bytes);
}

TEST_CASE("where there is no such block the set fails, and smaller ones go on") {
  constexpr uint64_t locker_bytes = uint64_t{700} << 20;
  fixture h;
  locker_bank &large = h.add_bank(3, locker_bytes);
  REQUIRE(h.setup.resize(h.far, uint64_t{4} << 30).ok());
  for (const uint32_t number : {0u, 1u, 2u}) h.land(large, h.far, number);
  REQUIRE(h.setup.resize(h.near, 3 * locker_bytes).ok());
  h.world(h.near).block_bytes_max = uint64_t{1} << 30;
  const uint32_t index = h.make_request(pin_verb{}, h.near, large, {0, 1, 2});
  h.open.open(index);
  CHECK(h.pins.grant(index));
  CHECK(h.requests[index].status == CUBBY_ERR_NO_MEMORY);
  CHECK(h.requests[index].failure.needed_bytes == 3 * locker_bytes);
  const uint32_t fewer = h.make_request(pin_verb{}, h.near, large, {0, 1});
  h.open.open(fewer);
  CHECK(h.pins.grant(fewer));
  CHECK_FALSE(h.has_ended(fewer));
}

TEST_CASE("a pin that is withdrawn whole stops its fills; of items, those that were released") {
  fixture h;
  const uint32_t index = h.granted({1, 2});
  h.pins.withdraw(index, true);
  CHECK(h.requests[index].status == CUBBY_ERR_CANCELED);
  CHECK(h.word(1).state == locker_state::absent);
  CHECK(h.table.empty());
  const uint32_t partly = h.granted({1, 2});
  h.pins.withdraw(partly, false);  // nothing was released
  CHECK(h.word(1).state == locker_state::filling);
  const auto &set = h.state.pins.sets().at(h.requests[partly].pin().set);
  const cubby_pins handle =
      residency::set_marks::generation_of(set.marks.load()) << 32 | (set.index + 1);
  REQUIRE(h.state.pins.unpin(handle, 0, 1, 0).what == pin_sets::outcome::released);
  h.pins.withdraw(partly, false);
  CHECK(h.word(1).state == locker_state::absent);
  CHECK(h.status[0] == CUBBY_ERR_CANCELED);
  CHECK(h.word(2).state == locker_state::filling);
  h.arrive(2);
  CHECK(h.requests[partly].status == CUBBY_PARTIAL);
}

TEST_CASE("without memory what has not begun fails, and what has goes on") {
  fixture h;
  const uint32_t waiting = h.begin_pin({1});
  h.pins.out_of_memory(waiting);
  CHECK(h.requests[waiting].status == CUBBY_ERR_NO_MEMORY);
  const uint32_t loading = h.granted({2});
  h.pins.out_of_memory(loading);
  CHECK_FALSE(h.has_ended(loading));
  h.arrive(2);
  CHECK(h.requests[loading].status == CUBBY_OK);
}

}  // namespace pin_operation_test
