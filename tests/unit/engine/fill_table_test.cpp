// Fills keep their places, wait in the right channel's queue, and are known by what they touch.
#include "engine/fill_table.hpp"

#include "support/engine_fixture.hpp"
#include "support/failing_new.hpp"

namespace fill_table_test {

using namespace cubby;
using namespace cubby::engine;
using cubby_test::engine_fixture;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;
constexpr transfer::urgency demand{CUBBY_DEMAND, base::never_ns, 5};
constexpr transfer::urgency forecast{CUBBY_FORECAST, 900, 1};

/// A device above a host tier above files.
struct fixture : engine_fixture {
  const uint32_t device = add_device("device", 0, mib);
  const uint32_t host = add_host("host", 1, mib);
  const uint32_t disk = add_disk();
  locker_bank &bank = add_bank(200, 4096);

  [[nodiscard]] uint64_t queued(uint32_t tier) const {
    return state.tiers[tier].path->queued_count();
  }
  [[nodiscard]] uint32_t next_job(uint32_t tier) const {
    const auto *const top = state.tiers[tier].path->top();
    return top != nullptr ? top->job : no_index;
  }
  uint32_t active(uint32_t from, uint32_t to, uint32_t number, const transfer::urgency &order) {
    const uint32_t index = table.create(bank, number, to, 0, order);
    table[index].state = fill_state::active;
    table[index].from = from;
    return index;
  }
};

}  // namespace

TEST_CASE("a fill that is created is reserved, and its place is used again once released") {
  fixture h;
  h.state.now_ns = 77;
  CHECK(h.table.empty());
  const uint32_t first = h.table.create(h.bank, 3, h.device, 40, forecast);
  const fill &f = h.table[first];
  CHECK(f.state == fill_state::reserved);
  CHECK(f.bank == &h.bank);
  CHECK(f.number == 3);
  CHECK(f.to == h.device);
  CHECK(f.from == no_tier);
  CHECK(f.frame == 40);
  CHECK(f.order == forecast);
  CHECK(f.begun_ns == 77);
  std::vector<uint32_t> others;
  for (uint32_t i = 0; i < 150; ++i) others.push_back(h.table.create(h.bank, i, h.host, i, {}));
  CHECK(&h.table[first] == &f);  // whatever else came
  CHECK(f.frame == 40);
  h.table[first].pieces_in_flight = 9;
  h.table.release(first);
  CHECK(h.table.create(h.bank, 4, h.host, 1, {}) == first);
  CHECK(f.pieces_in_flight == 0);
  CHECK(f.number == 4);
  h.table.release(first);
  CHECK_FALSE(h.table.empty());
  for (const uint32_t index : others) h.table.release(index);
  CHECK(h.table.empty());
}

TEST_CASE("a create that finds no memory has done nothing, and later nothing takes any") {
  uint32_t failures = 0;
  for (int64_t allowed = 0;; ++allowed) {
    fixture h;
    bool threw = false, happened = false;
    uint32_t index = no_index;
    {
      const cubby_test::allocation_failure failing(allowed);
      try {
        index = h.table.create(h.bank, 1, h.host, 8, demand);
      } catch (const std::bad_alloc &) {
        threw = true;
      }
      happened = failing.happened();
    }
    REQUIRE(threw == happened);
    if (!happened) {
      CHECK(failures > 3);
      h.table[index].from = h.disk;
      const cubby_test::allocation_failure none_is_left(0);
      h.table.queue(index);
      h.table.raise(index, {CUBBY_DEMAND, 1, 1});
      h.table.unqueue(index);
      h.table.release(index);
      CHECK_FALSE(none_is_left.happened());
      break;
    }
    ++failures;
    CHECK(h.table.empty());
    CHECK_FALSE(h.table.touches_bank(h.bank));
    // It can be tried again, as if nothing had been.
    CHECK(h.table.create(h.bank, 1, h.host, 8, demand) == 0);
    CHECK(h.table.create(h.bank, 2, h.host, 9, demand) == 1);
  }
}

TEST_CASE("a fill waits in the channel that reads its next piece") {
  fixture h;
  const uint32_t from_file = h.active(h.disk, h.host, 0, demand);
  const uint32_t from_host = h.active(h.host, h.device, 1, demand);
  const uint32_t from_device = h.active(h.device, h.host, 2, demand);
  h.table.queue(from_file);
  CHECK(h.queued(h.disk) == 1);
  h.table.queue(from_host);  // the device copies: it alone reaches its memory
  CHECK(h.queued(h.device) == 1);
  h.table.queue(from_device);
  CHECK(h.queued(h.device) == 2);
  CHECK(h.queued(h.host) == 0);
  CHECK(h.table[from_host].queued);
  h.table.unqueue(from_host);
  h.table.unqueue(from_host);  // as it is
  CHECK(h.queued(h.device) == 1);
  CHECK(h.next_job(h.device) == from_device);
  CHECK_FALSE(h.table[from_host].queued);
}

TEST_CASE("a waiter raises a fill, in its queue too, and never lowers it") {
  fixture h;
  const uint32_t early = h.active(h.disk, h.host, 0, {CUBBY_FORECAST, 500, 1});
  const uint32_t late = h.active(h.disk, h.host, 1, forecast);
  h.table.queue(early);
  h.table.queue(late);
  CHECK(h.next_job(h.disk) == early);
  h.table.raise(late, {CUBBY_WRITE_BACK, 100, 0});
  CHECK(h.table[late].order == forecast);
  CHECK(h.table[late].may_expire);
  h.table.raise(late, {CUBBY_FORECAST, 100, 9});
  CHECK(h.next_job(h.disk) == late);
  CHECK(h.table[late].may_expire);
  h.table.raise(late, {CUBBY_WRITE_BACK, base::never_ns, 9});  // less urgent, and without end
  CHECK_FALSE(h.table[late].may_expire);
  CHECK(h.queued(h.disk) == 2);
  h.table.unqueue(early);
  h.table.raise(early, demand);  // it is in no queue and comes into none
  CHECK(h.queued(h.disk) == 1);
}

TEST_CASE("demotions out of one tier are raised, and nothing else") {
  fixture h;
  const transfer::urgency back{CUBBY_WRITE_BACK, base::never_ns, 3};
  const uint32_t leaving = h.active(h.device, h.host, 0, back);
  const uint32_t elsewhere = h.active(h.host, h.device, 1, back);
  const uint32_t copied = h.active(h.device, h.host, 2, back);
  const uint32_t stopping = h.active(h.device, h.host, 3, back);
  for (const uint32_t index : {leaving, elsewhere, stopping}) h.table[index].demotion = true;
  h.table[stopping].state = fill_state::stopping;
  h.table.raise_demotions(h.device, demand);
  CHECK(h.table[leaving].order == demand);
  for (const uint32_t index : {elsewhere, copied, stopping}) CHECK(h.table[index].order == back);
}

TEST_CASE("followers stand in the order they came, lend their urgency, and leave from anywhere") {
  fixture h;
  const uint32_t leader = h.active(h.disk, h.host, 0, forecast);
  std::vector<uint32_t> followers;
  for (uint32_t i = 0; i < 3; ++i) {
    followers.push_back(h.active(h.disk, h.device, i, {CUBBY_DEMAND, base::never_ns, 10 - i}));
    h.table.follow(leader, followers.back());
    CHECK(h.table[followers[i]].state == fill_state::following);
    CHECK(h.table[followers[i]].from == no_tier);
  }
  CHECK(h.table[leader].order == transfer::urgency{CUBBY_DEMAND, base::never_ns, 8});
  const auto chain = [&] {
    std::vector<uint32_t> seen;
    for (uint32_t i = h.table[leader].first_follower; i != no_index; i = h.table[i].next_follower)
      seen.push_back(i);
    return seen;
  };
  CHECK(chain() == followers);
  h.table.unfollow(followers[1]);
  CHECK(chain() == std::vector<uint32_t>{followers[0], followers[2]});
  h.table.unfollow(followers[1]);  // as it is
  h.table.release(followers[0]);   // leaves the chain, too
  CHECK(chain() == std::vector<uint32_t>{followers[2]});
  CHECK(h.table[leader].wanted());
  h.table.unfollow(followers[2]);
  CHECK_FALSE(h.table[leader].wanted());
}

TEST_CASE("what fills touch: the tiers they come from, go to and pass, the words they hold") {
  fixture h;
  locker_bank &other = h.add_bank(2, 4096);
  const uint32_t index = h.active(h.disk, h.device, 7, demand);
  CHECK(h.table.touches_tier(h.disk));
  CHECK(h.table.touches_tier(h.device));
  CHECK_FALSE(h.table.touches_tier(h.host));
  CHECK(h.table.held_words(h.host).empty());
  h.table[index].intermediate = h.host;
  CHECK(h.table.touches_tier(h.host));
  CHECK(h.table.held_words(h.host) == std::vector<const locker_word *>{&h.bank.word(h.host, 7)});
  CHECK(h.table.held_words(h.device).empty());  // a frame that is filled is not held by a pin
  CHECK(h.table.touches_bank(h.bank));
  CHECK_FALSE(h.table.touches_bank(other));
  h.table[index].unrequested = true;
  CHECK(h.table[index].wanted());
  h.table.forget_unrequested();
  CHECK_FALSE(h.table[index].wanted());
  h.table.release(index);
  CHECK_FALSE(h.table.touches_tier(h.host));
  CHECK_FALSE(h.table.touches_bank(h.bank));
}

}  // namespace fill_table_test
