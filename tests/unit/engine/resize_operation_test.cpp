// Resizes: what is too much leaves, copied down where a tier below takes it.
#include "engine/operations/resize.hpp"

#include "support/operation_fixture.hpp"

namespace resize_operation_test {

using namespace cubby;
using namespace cubby::engine;

namespace {

struct fixture : cubby_test::operation_fixture {
  resize_operation resizes{units};

  explicit fixture(uint32_t far_flags = 0) : operation_fixture(far_flags) {}
  /// With all frames near taken, the budget is lowered to so many.
  uint32_t lower_to(uint64_t frames, uint32_t first = 0) {
    for (uint32_t number = first; number < first + 4; ++number) land(bank, near, number);
    REQUIRE(setup.resize(near, frames * page).ok());
    return begin(resize_verb{}, {});
  }
};

}  // namespace

TEST_CASE("a tier within its budget is done at once") {
  fixture h;
  const uint32_t index = h.lower_to(8);
  CHECK(h.resizes.grant(index));
  CHECK(h.requests[index].status == CUBBY_OK);
  CHECK(h.used_frames() == 4);
}

TEST_CASE("as much is evicted as is too much, and no more") {
  fixture h;
  const uint32_t index = h.lower_to(1);
  CHECK(h.resizes.grant(index));
  CHECK(h.requests[index].status == CUBBY_OK);
  CHECK(h.used_frames() == 1);
  CHECK(h.state.tiers[h.near].stats.evict_count == 3);
}

TEST_CASE("what is pinned is waited for") {
  fixture h;
  const uint32_t index = h.lower_to(1);
  h.hold(2);
  h.hold(3);
  CHECK_FALSE(h.resizes.grant(index));
  CHECK(h.used_frames() == 2);
  CHECK_FALSE(h.has_ended(index));
  h.bank.word(h.near, 2).unpin();
  CHECK(h.resizes.grant(index));
  CHECK(h.used_frames() == 1);
  CHECK(h.word(3).state == locker_state::ready);
}

TEST_CASE("what is copied down is waited for, and nothing more is sent after it") {
  fixture h(CUBBY_TIER_EXCLUSIVE);
  for (uint32_t number = 0; number < 4; ++number) REQUIRE(h.copies.drop(h.bank, number, h.far));
  const uint32_t index = h.lower_to(2);
  CHECK_FALSE(h.resizes.grant(index));
  CHECK(h.state.tiers[h.near].leaving_bytes == 2 * h.page);
  CHECK_FALSE(h.resizes.grant(index));
  CHECK(h.state.tiers[h.near].leaving_bytes == 2 * h.page);
  for (uint32_t number = 0; number < 4; ++number) {
    const locker_word::view below = h.bank.word(h.far, number).look();
    if (below.state != locker_state::filling) continue;
    const auto fill = static_cast<uint32_t>(below.frame);
    h.table.unqueue(fill);
    h.table[fill].next_part = h.bank.part_count();
    h.table[fill].pieces_in_flight = 1;
    h.life.piece_ended(h.table[fill]);
  }
  CHECK(h.resizes.grant(index));
  CHECK(h.requests[index].status == CUBBY_OK);
  CHECK(h.used_frames() == 2);
}

TEST_CASE("a resize that is withdrawn is over; what has left has left") {
  fixture h;
  const uint32_t index = h.lower_to(1);
  h.hold(3);
  h.hold(2);
  CHECK_FALSE(h.resizes.grant(index));
  h.resizes.withdraw(index, false);
  CHECK_FALSE(h.has_ended(index));
  h.resizes.withdraw(index, true);
  CHECK(h.requests[index].status == CUBBY_ERR_CANCELED);
  CHECK(h.used_frames() == 2);
}

}  // namespace resize_operation_test
