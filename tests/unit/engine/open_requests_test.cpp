// What becomes of requests that are open: results of items, one completion, who waits for frames.
#include "engine/open_requests.hpp"

#include <array>

#include "support/engine_fixture.hpp"
#include "support/failing_new.hpp"

namespace open_requests_test {

using namespace cubby;
using namespace cubby::engine;
using cubby_test::engine_fixture;

namespace {

struct fixture : engine_fixture {
  const uint32_t near = add_host("near", 0, uint64_t{1} << 20);
  const uint32_t far = add_host("far", 1, uint64_t{1} << 20);
  locker_bank &bank = add_bank(8, 4096);
  std::array<int8_t, 4> status{};
  std::array<const void *, 4> addr{};

  uint32_t pin(const std::vector<uint32_t> &numbers, uint32_t tier = 0,
               uint32_t io_class = CUBBY_DEMAND) {
    const uint32_t index = make_request(pin_verb{}, tier, bank, numbers, io_class);
    status.fill(CUBBY_PENDING);
    requests[index].item_status = status.data();
    requests[index].pin().addr = addr.data();
    return index;
  }
  void land_item(uint32_t index, uint32_t item) {
    request &r = requests[index];
    locker_word &word = bank.word(r.tier, r.items[item].number);
    uint64_t frame = 0;
    REQUIRE(word.pin(frame) == pin_outcome::pinned);
    open.item_landed(index, item, word, frame, fill{});
  }
  [[nodiscard]] std::vector<uint32_t> completed() const { return sink.indices; }
};

error lost() { return fail(CUBBY_ERR_IO, "the disk is gone"); }

}  // namespace

TEST_CASE("a request that is taken up has a place in the order, and nothing of its last use") {
  fixture h;
  const uint32_t index = h.pin({1, 2});
  request &r = h.requests[index];
  r.ok_count = 7;
  r.bytes = 9;
  r.first_failure = CUBBY_ERR_IO;
  r.waiting = r.frame_waited = true;
  r.deadline_ns = 5000;
  h.open.open(index);
  CHECK(h.open.is_open(index));
  CHECK(r.open_count == 2);
  CHECK(r.ok_count == 0);
  CHECK(r.bytes == 0);
  CHECK(r.first_failure == CUBBY_OK);
  CHECK_FALSE(r.waiting);
  CHECK_FALSE(r.frame_waited);
  CHECK(r.order.deadline_ns == 5000);
  CHECK(r.begun_ns == h.state.now_ns);
  const uint32_t later = h.make_request(prefetch_verb{}, h.near, h.bank, {3}, CUBBY_FORECAST);
  h.open.open(later);
  CHECK(h.requests[later].order.deadline_ns == base::never_ns);
  CHECK(h.requests[later].order.sequence > r.order.sequence);
  CHECK(h.open.open_now() == std::vector<uint32_t>{index, later});
  CHECK(h.open.demand_count() == 1);  // pins alone
}

TEST_CASE("a pin whose items land completes once, with addresses, and its holder has the set") {
  fixture h;
  h.land(h.bank, h.near, 1);
  h.land(h.bank, h.near, 2);
  const uint32_t index = h.pin({1, 2});
  h.open.open(index);
  h.land_item(index, 1);
  CHECK(h.status[0] == CUBBY_PENDING);
  CHECK(h.status[1] == CUBBY_OK);
  CHECK(h.addr[1] == h.bytes_in(h.bank, h.near, 2));
  CHECK(h.completed().empty());
  h.land_item(index, 0);
  CHECK(h.completed() == std::vector<uint32_t>{index});
  CHECK(h.addr[0] == h.bytes_in(h.bank, h.near, 1));
  const request &r = h.requests[index];
  CHECK(r.status == CUBBY_OK);
  CHECK(r.bytes == 2 * 4096);
  CHECK(state_of(r.life.load()) == request_state::done);
  CHECK(h.open.empty());
  CHECK(h.open.demand_count() == 0);
  CHECK(h.open.completed_count() == 1);
  CHECK(h.state.pins.any_pinned(h.near));
  h.open.complete_if_over(index);  // no more to be reported
  CHECK(h.completed().size() == 1);
}

TEST_CASE("some items failed: PARTIAL, and the first failure says which locker and tier") {
  fixture h;
  h.land(h.bank, h.near, 1);
  const uint32_t index = h.pin({1, 5, 6});
  h.open.open(index);
  h.open.item_failed(index, 1, lost());
  h.open.item_failed(index, 2, fail(CUBBY_MISS, "nowhere"));
  CHECK(h.completed().empty());
  h.land_item(index, 0);
  const request &r = h.requests[index];
  CHECK(r.status == CUBBY_PARTIAL);
  CHECK(r.failure.status == CUBBY_ERR_IO);
  CHECK(r.failure.id == CUBBY_ID(h.bank.handle, 5));
  CHECK(r.failure.tier == h.state.tiers[h.near].handle);
  CHECK(h.status == std::array<int8_t, 4>{CUBBY_OK, CUBBY_ERR_IO, CUBBY_MISS, CUBBY_PENDING});
}

TEST_CASE("all items failed: the first failure is the status, and the set is nobody's") {
  fixture h;
  const uint32_t index = h.pin({5, 6});
  h.open.open(index);
  h.open.mark_failed(index, 0, lost());
  h.open.mark_failed(index, 1, lost());
  CHECK(h.completed().empty());  // marking alone completes nothing
  h.open.complete_if_over(index);
  CHECK(h.completed().size() == 1);
  CHECK(h.requests[index].status == CUBBY_ERR_IO);
  CHECK_FALSE(h.state.pins.any_pinned(h.near));
}

TEST_CASE("a pin of which every item was withdrawn is CANCELED, and one of a mixed end PARTIAL") {
  fixture h;
  const uint32_t gone = h.pin({1, 2});
  h.open.open(gone);
  h.open.mark_withdrawn(gone, 0);
  h.open.mark_withdrawn(gone, 1);
  h.open.complete_if_over(gone);
  CHECK(h.requests[gone].status == CUBBY_ERR_CANCELED);
  CHECK(h.status[1] == CUBBY_ERR_CANCELED);
  h.land(h.bank, h.near, 1);
  const uint32_t mixed = h.pin({1, 2});
  h.open.open(mixed);
  h.open.mark_withdrawn(mixed, 1);
  h.land_item(mixed, 0);
  CHECK(h.requests[mixed].status == CUBBY_PARTIAL);
}

TEST_CASE(
    "those that wait for frames stand by urgency, each once, and the flag says for which tier") {
  fixture h;
  const uint32_t forecast = h.pin({1}, h.near, CUBBY_FORECAST);
  const uint32_t demand = h.pin({2}, h.near);
  const uint32_t later = h.pin({3}, h.near);
  for (const uint32_t index : {forecast, demand, later}) h.open.open(index);
  h.state.changed = false;
  h.open.wait_for_frames(later);
  CHECK(h.state.changed);  // what was unpinned before the flag was up is looked at once more
  h.state.changed = false;
  h.open.wait_for_frames(forecast);
  h.open.wait_for_frames(demand);
  h.open.wait_for_frames(demand);
  CHECK_FALSE(h.state.changed);
  CHECK(h.open.waiting_now() == std::vector<uint32_t>{demand, later, forecast});
  CHECK(h.state.pins.watch(h.near).frames_wanted.load());
  CHECK_FALSE(h.state.pins.watch(h.far).frames_wanted.load());
  h.open.stop_waiting(later);
  h.open.stop_waiting(later);
  CHECK(h.open.waiting_now() == std::vector<uint32_t>{demand, forecast});
  CHECK_FALSE(h.requests[later].waiting);
  CHECK(h.requests[later].frame_waited);
  for (const uint32_t index : {forecast, demand}) {
    h.open.mark_failed(index, 0, lost());
    h.open.complete(index);  // what is over waits no more
  }
  CHECK(h.open.waiting_now().empty());
  h.open.publish_waiting();
  CHECK_FALSE(h.state.pins.watch(h.near).frames_wanted.load());
}

TEST_CASE("only items named by a key are looked at again, and only those that still wait") {
  fixture h;
  const uint32_t plain = h.make_request(prefetch_verb{}, h.near, h.bank, {1, 2, 3});
  h.open.open(plain);
  CHECK(h.requests[plain].first_movable() == 3);
  const uint32_t keyed = h.make_request(prefetch_verb{}, h.near, h.bank, {1, 2, 3});
  h.requests[keyed].items[2].seen.entry = {1, 1};
  h.open.open(keyed);
  CHECK(h.requests[keyed].first_movable() == 0);
  h.requests[keyed].next_item = 2;
  CHECK(h.requests[keyed].first_movable() == 2);
}

TEST_CASE("stall times add up to the wait of the demand pin, by what it was spent on") {
  fixture h;
  h.land(h.bank, h.near, 1);
  const uint32_t index = h.pin({1});
  request &r = h.requests[index];
  r.issued_ns = 1000;
  h.state.now_ns = 1100;
  h.open.open(index);
  h.state.now_ns = 1300;
  h.open.wait_for_frames(index);
  h.open.stop_waiting(index);
  r.granted_ns = 1300;
  h.state.now_ns = 2000;
  fill by;
  by.read_done_ns = 1700;
  uint64_t frame = 0;
  locker_word &word = h.bank.word(h.near, 1);
  REQUIRE(word.pin(frame) == pin_outcome::pinned);
  h.open.item_landed(index, 0, word, frame, by);
  CHECK(h.open.stalls().handoff_ns == 100);
  CHECK(h.open.stalls().frame_wait_ns == 200);
  CHECK(h.open.stalls().read_ns == 400);
  CHECK(h.open.stalls().join_ns == 0);
  CHECK(h.open.stalls().copy_ns == 300);
}

TEST_CASE("demand that completes behind its deadline is counted as late, and a forecast is not") {
  fixture h;
  for (const uint32_t io_class : {CUBBY_DEMAND, CUBBY_FORECAST}) {
    const uint32_t index = h.pin({1}, h.near, io_class);
    h.requests[index].deadline_ns = 1500;
    h.state.now_ns = 1000;
    h.open.open(index);
    h.state.now_ns = 1501;
    h.open.item_failed(index, 0, lost());
  }
  CHECK(h.state.tiers[h.near].stats.late_count == 1);
}

TEST_CASE("as many requests as there are places open, wait and complete without memory") {
  fixture h;
  std::vector<uint32_t> indices;
  for (uint32_t i = 0; i < h.requests.size(); ++i) indices.push_back(h.pin({i % 8}));
  {
    const cubby_test::allocation_failure none_is_left(0);
    for (const uint32_t index : indices) h.open.open(index);
    for (const uint32_t index : indices) h.open.wait_for_frames(index);
    static_cast<void>(h.open.waiting_now());
    static_cast<void>(h.open.open_now());
    for (const uint32_t index : indices) h.open.stop_waiting(index);
    CHECK_FALSE(none_is_left.happened());
  }
  for (const uint32_t index : indices) h.open.item_failed(index, 0, lost());
  CHECK(h.completed() == indices);
}

}  // namespace open_requests_test
