// Prefetches: item by item, holding nothing.
#include "engine/operations/prefetch.hpp"

#include "support/operation_fixture.hpp"

namespace prefetch_operation_test {

using namespace cubby;
using namespace cubby::engine;

namespace {

struct fixture : cubby_test::operation_fixture {
  prefetch_operation prefetches{units};

  uint32_t begin_prefetch(const std::vector<uint32_t> &numbers, uint64_t deadline_ns = 0) {
    const uint32_t index = begin(prefetch_verb{}, numbers, CUBBY_FORECAST, deadline_ns);
    prefetches.begin(index);
    return index;
  }
};

}  // namespace

TEST_CASE("what is there is done, what is nowhere fails, what is missing comes and is not held") {
  fixture h;
  h.land(h.bank, h.near, 0);
  const uint32_t index = h.begin_prefetch({0, h.present_count, 1});
  CHECK(h.prefetches.grant(index));
  CHECK(h.status[0] == CUBBY_OK);
  CHECK(h.status[1] == CUBBY_MISS);
  CHECK(h.status[2] == CUBBY_PENDING);
  CHECK(h.word(0).pin_count == 0);
  const fill &f = h.table[static_cast<uint32_t>(h.word(1).frame)];
  CHECK(f.unrequested);
  CHECK(f.admit);
  CHECK(f.state == fill_state::active);
  h.arrive(1);
  CHECK(h.requests[index].status == CUBBY_PARTIAL);
  CHECK(h.word(1).state == locker_state::ready);
  CHECK(h.word(1).pin_count == 0);
  CHECK(h.state.admission.is_tracked(h.near, h.bank.object_base + 1));
}

TEST_CASE("a prefetch takes the frames there are, and goes on where it was") {
  fixture h;
  for (const uint32_t number : {7u, 8u, 9u}) {
    h.land(h.bank, h.near, number);
    h.hold(number);
  }
  const uint32_t index = h.begin_prefetch({1, 2});
  CHECK_FALSE(h.prefetches.grant(index));
  CHECK(h.word(1).state == locker_state::filling);  // unlike a pin
  CHECK(h.requests[index].next_item == 1);
  CHECK_FALSE(h.prefetches.grant(index));
  CHECK(h.table.touches_bank(h.bank));
  h.bank.word(h.near, 9).unpin();
  CHECK(h.prefetches.grant(index));
  CHECK(h.word(2).state == locker_state::filling);
  h.arrive(1);
  h.arrive(2);
  CHECK(h.requests[index].status == CUBBY_OK);
}

TEST_CASE("the fill of another is joined, and its reasons to go on are left alone") {
  fixture h;
  const uint32_t coming = h.reserve(h.bank, h.near, 1);
  h.table[coming].state = fill_state::active;
  const uint32_t index = h.begin_prefetch({1});
  CHECK(h.prefetches.grant(index));
  CHECK(h.requests[index].items[0].fill == coming);
  CHECK(h.requests[index].items[0].state == item_state::loading);
  CHECK_FALSE(h.table[coming].unrequested);
  CHECK(h.used_frames() == 1);
}

TEST_CASE("a forecast that is late is canceled for what has not begun; other classes wait on") {
  fixture h;
  for (const uint32_t number : {7u, 8u, 9u}) {
    h.land(h.bank, h.near, number);
    h.hold(number);
  }
  const uint32_t index = h.begin_prefetch({1, 2}, h.state.now_ns + 100);
  CHECK_FALSE(h.prefetches.grant(index));
  h.open.wait_for_frames(index);
  h.state.now_ns += 100;
  CHECK_FALSE(h.prefetches.expire(index));
  ++h.state.now_ns;
  CHECK(h.prefetches.expire(index));
  CHECK(h.status[1] == CUBBY_ERR_CANCELED);
  CHECK_FALSE(h.requests[index].waiting);
  CHECK_FALSE(h.has_ended(index));  // the first item is on its way
  h.arrive(1);
  CHECK(h.requests[index].status == CUBBY_PARTIAL);
  const uint32_t demand = h.begin(prefetch_verb{}, {3}, CUBBY_DEMAND, 1);
  CHECK_FALSE(h.prefetches.expire(demand));
}

TEST_CASE("a locker above the budget is refused, alone") {
  fixture h;
  locker_bank &large = h.add_bank(1, 3 * h.page);
  h.land(large, h.far, 0);
  REQUIRE(h.setup.resize(h.near, 2 * h.page).ok());
  const uint32_t index = h.begin_prefetch({1, 2});
  h.requests[index].items[1].bank = &large;
  h.requests[index].items[1].number = 0;
  CHECK_FALSE(h.prefetches.refuse_impossible(index));
  CHECK(h.status[0] == CUBBY_PENDING);
  CHECK(h.status[1] == CUBBY_ERR_BUDGET);
  CHECK(h.prefetches.grant(index));
  h.arrive(1);
  CHECK(h.requests[index].status == CUBBY_PARTIAL);
  const uint32_t alone = h.begin_prefetch({1});
  h.requests[alone].items[0].bank = &large;
  h.requests[alone].items[0].number = 0;
  CHECK(h.prefetches.refuse_impossible(alone));
  CHECK(h.requests[alone].status == CUBBY_ERR_BUDGET);
  CHECK(h.requests[alone].failure.needed_bytes >= 3 * h.page);
}

TEST_CASE("a prefetch that is withdrawn ends at once; what has begun comes all the same") {
  fixture h;
  const uint32_t index = h.begin_prefetch({1});
  CHECK(h.prefetches.grant(index));
  h.prefetches.withdraw(index, false);  // single items cannot be
  CHECK_FALSE(h.has_ended(index));
  h.prefetches.withdraw(index, true);
  CHECK(h.requests[index].status == CUBBY_ERR_CANCELED);
  CHECK(h.word(1).state == locker_state::filling);
  h.arrive(1);
  CHECK(h.word(1).state == locker_state::ready);
}

}  // namespace prefetch_operation_test
