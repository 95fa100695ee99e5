// Frames for requests: all that a set needs or none, and nothing half-done in between.
#include "engine/frame_grants.hpp"

#include "support/engine_fixture.hpp"
#include "support/failing_new.hpp"

namespace frame_grants_test {

using namespace cubby;
using namespace cubby::engine;
using cubby_test::engine_fixture;

namespace {

constexpr uint64_t page = 4096;

/// Four frames near, and all lockers far, but for the last two, which are nowhere.
struct fixture : engine_fixture {
  const uint32_t near = add_host("near", 0, 4 * page);
  const uint32_t far = add_host("far", 1, 64 * page);
  locker_bank &bank = add_bank(12, page);
  frame_grants grants{state, table, copies};
  std::vector<uint32_t> reserved;

  fixture() {
    for (uint32_t number = 0; number < 10; ++number) land(bank, far, number);
  }
  uint32_t pin(const std::vector<uint32_t> &numbers, uint32_t flags = 0) {
    const uint32_t index = make_request(pin_verb{}, near, bank, numbers);
    requests[index].flags = flags;
    open.open(index);
    return index;
  }
  request &pin_request(const std::vector<uint32_t> &numbers) { return requests[pin(numbers)]; }
  [[nodiscard]] locker_state state_of_locker(uint32_t number) const {
    return bank.word(near, number).look().state;
  }
  [[nodiscard]] uint64_t pins_of(uint32_t number) const {
    return bank.word(near, number).look().pin_count;
  }
  void hold(uint32_t number) const {
    uint64_t frame = 0;
    REQUIRE(bank.word(near, number).pin(frame) == pin_outcome::pinned);
  }
  [[nodiscard]] uint64_t used_frames() const {
    return state.tiers[near].memory->used_bytes() / page;
  }
};

}  // namespace

TEST_CASE("what an item finds: it is there, on its way, leaving, nowhere, or begun") {
  fixture h;
  h.land(h.bank, h.near, 0);
  request &r = h.pin_request({0, 1, 2, 3, 10});
  CHECK(h.grants.look_up(r, 0) == lookup_result::ready);
  const uint32_t coming = h.reserve(h.bank, h.near, 1);
  CHECK(h.grants.look_up(r, 1) == lookup_result::joinable);
  h.table[coming].state = fill_state::stopping;
  CHECK(h.grants.look_up(r, 1) == lookup_result::blocked);
  h.land(h.bank, h.near, 2);
  REQUIRE(h.bank.word(h.near, 2).begin_evict());
  CHECK(h.grants.look_up(r, 2) == lookup_result::blocked);
  CHECK(h.grants.look_up(r, 4) == lookup_result::nowhere);
  CHECK(h.used_frames() == 3);
  CHECK(h.grants.look_up(r, 3) == lookup_result::begun);
  CHECK(h.used_frames() == 4);
  CHECK(h.state_of_locker(3) == locker_state::filling);
  const fill &f = h.table[r.items[3].fill];
  CHECK(f.state == fill_state::reserved);
  CHECK(f.number == 3);
  CHECK(f.to == h.near);
  CHECK(f.order == r.order);
  h.grants.take_reserved(h.reserved);
  CHECK(h.reserved == std::vector<uint32_t>{r.items[3].fill});
  h.grants.take_reserved(h.reserved);
  CHECK(h.reserved.empty());
}

TEST_CASE("a file makes a locker be somewhere, until the file has changed") {
  fixture h;
  h.map(h.bank, h.add_disk());
  request &r = h.pin_request({10, 11});
  CHECK(h.grants.look_up(r, 0) == lookup_result::begun);
  h.bank.failed = fail(CUBBY_ERR_CORRUPT, "the file changed");
  CHECK(h.grants.look_up(r, 1) == lookup_result::nowhere);
  CHECK(frame_grants::why_absent(h.bank, 11).status == CUBBY_ERR_CORRUPT);
}

TEST_CASE("why a locker is nowhere names it and its bank") {
  const fixture h;
  const error why = frame_grants::why_absent(h.bank, 11);
  CHECK(why.status == CUBBY_MISS);
  CHECK(why.text.find("locker 11 of bank weights") != std::string::npos);
}

TEST_CASE("a set gets all of its frames: hits are held, and a locker named twice has one") {
  fixture h;
  h.land(h.bank, h.near, 0);
  request &r = h.pin_request({0, 1, 2, 1});
  REQUIRE(h.grants.reserve_all(r, true));
  CHECK(r.items[0].state == item_state::landed);
  CHECK(h.pins_of(0) == 1);
  CHECK(h.used_frames() == 3);
  h.grants.take_reserved(h.reserved);
  CHECK(h.reserved == std::vector<uint32_t>{r.items[1].fill, r.items[2].fill});
  CHECK(r.items[3].fill == no_index);  // it joins
  for (const uint32_t i : {1u, 2u, 3u}) CHECK(r.items[i].state == item_state::waiting);
}

TEST_CASE("room is made at the cost of what the set does not name") {
  fixture h;
  for (uint32_t number = 0; number < 4; ++number) h.land(h.bank, h.near, number);
  request &r = h.pin_request({0, 1, 2, 9});  // 3 is all that may go, though 0 is the oldest
  REQUIRE(h.grants.reserve_all(r, true));
  CHECK(h.state_of_locker(3) == locker_state::absent);
  CHECK(h.state_of_locker(9) == locker_state::filling);
  for (const uint32_t number : {0u, 1u, 2u}) CHECK(h.pins_of(number) == 1);
}

TEST_CASE("a set that lacks one frame has none, and lets go of its hits") {
  fixture h;
  h.land(h.bank, h.near, 0);
  for (const uint32_t number : {7u, 8u}) {
    h.land(h.bank, h.near, number);
    h.hold(number);
  }
  request &r = h.pin_request({0, 1, 2});
  CHECK_FALSE(h.grants.reserve_all(r, true));
  CHECK(h.used_frames() == 3);
  CHECK(h.table.empty());
  for (const uint32_t number : {1u, 2u}) {
    CHECK(h.state_of_locker(number) == locker_state::absent);
    CHECK_FALSE(h.state.admission.is_tracked(h.near, h.bank.object_base + number));
  }
  CHECK(h.state_of_locker(0) == locker_state::ready);
  CHECK(h.pins_of(0) == 0);
  for (const request_item &item : r.items) {
    CHECK(item.state == item_state::waiting);
    CHECK(item.fill == no_index);
  }
  h.grants.take_reserved(h.reserved);
  CHECK(h.reserved.empty());
  h.bank.word(h.near, 7).unpin();
  CHECK(h.grants.reserve_all(r, true));
}

TEST_CASE("one locker that is just leaving keeps the whole set waiting") {
  fixture h;
  h.land(h.bank, h.near, 2);
  REQUIRE(h.bank.word(h.near, 2).begin_evict());
  request &r = h.pin_request({1, 2});
  CHECK_FALSE(h.grants.reserve_all(r, true));
  CHECK(h.state_of_locker(1) == locker_state::absent);
  CHECK(h.table.empty());
}

TEST_CASE("without holding hits, what is there is taken in its turn") {
  fixture h;
  h.land(h.bank, h.near, 0);
  request &r = h.pin_request({1, 0});
  REQUIRE(h.grants.reserve_all(r, false));
  CHECK(r.items[1].state == item_state::landed);
  CHECK(h.pins_of(0) == 1);
}

TEST_CASE("the policy hears of newcomers at once, but not of tries nor of what is for one use") {
  fixture h;
  const uint32_t asked = h.pin({1});
  REQUIRE(h.grants.reserve_all(h.requests[asked], true));
  CHECK(h.state.admission.is_tracked(h.near, h.bank.object_base + 1));
  const uint32_t again = h.pin({2});
  h.open.wait_for_frames(again);
  REQUIRE(h.grants.reserve_all(h.requests[again], true));
  CHECK_FALSE(h.state.admission.is_tracked(h.near, h.bank.object_base + 2));
  const uint32_t once = h.pin({3}, CUBBY_BYPASS);
  REQUIRE(h.grants.reserve_all(h.requests[once], true));
  CHECK_FALSE(h.state.admission.is_tracked(h.near, h.bank.object_base + 3));
}

TEST_CASE("a set that finds no memory for its tables leaves everything as it was") {
  uint32_t failures = 0;
  for (int64_t allowed = 0;; ++allowed) {
    fixture h;
    h.land(h.bank, h.near, 0);
    request &r = h.pin_request({0, 1, 2});
    bool threw = false, happened = false, granted = false;
    {
      const cubby_test::allocation_failure failing(allowed);
      try {
        granted = h.grants.reserve_all(r, true);
      } catch (const std::bad_alloc &) {
        threw = true;
      }
      happened = failing.happened();
    }
    REQUIRE(granted != threw);
    if (!happened) break;
    ++failures;
    if (!threw) continue;
    REQUIRE(h.used_frames() == 1);
    REQUIRE(h.table.empty());
    REQUIRE(h.pins_of(0) == 0);
    REQUIRE(h.state_of_locker(1) == locker_state::absent);
    REQUIRE_FALSE(h.state.admission.is_tracked(h.near, h.bank.object_base + 1));
    for (const request_item &item : r.items) REQUIRE(item.state == item_state::waiting);
    REQUIRE(h.grants.reserve_all(r, true));
    REQUIRE(h.used_frames() == 3);
  }
  CHECK(failures > 3);
}

TEST_CASE("a set that cannot be laid out hears which budget is enough, or that memory is lacking") {
  fixture h;
  request &r = h.pin_request({1, 2, 3, 4, 5});
  r.items[4].state = item_state::withdrawn;
  REQUIRE(h.setup.resize(h.near, 3 * page).ok());
  const error above = h.grants.cannot_lay_out(r);
  CHECK(above.status == CUBBY_ERR_BUDGET);
  CHECK(above.tier == h.state.tiers[h.near].handle);
  CHECK(above.needed_bytes == 4 * page);
  CHECK(above.text.find("tier near") != std::string::npos);
  REQUIRE(h.setup.resize(h.near, 4 * page).ok());
  const error within = h.grants.cannot_lay_out(r);
  CHECK(within.status == CUBBY_ERR_NO_MEMORY);
  CHECK(within.needed_bytes == 4 * page);
  CHECK(within.text.find("16384 bytes in one piece") != std::string::npos);
}

}  // namespace frame_grants_test
