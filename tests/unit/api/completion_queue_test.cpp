// A completion queue alone: places, its descriptor, and an owner that goes first.
#include "api/completion_queue.hpp"

#include <poll.h>

#include <vector>

#include "support/catch.hpp"

namespace completion_queue_test {

namespace {

struct counting_owner final : cubby::api::queue_owner {
  void taken(std::span<const uint32_t> requests) override {
    taken_indexes.insert(taken_indexes.end(), requests.begin(), requests.end());
  }
  std::vector<uint32_t> taken_indexes;
};

bool readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, 0) == 1;
}

cubby_cq::entry entry_of(uint32_t index) {
  cubby_cq::entry made;
  made.request_index = index;
  made.done.user = 100 + index;
  return made;
}

}  // namespace

TEST_CASE("a queue has as many places as were asked for, reserved or held") {
  counting_owner owner;
  cubby_cq queue(owner, 2);
  REQUIRE(queue.open().ok());
  REQUIRE(queue.reserve());
  REQUIRE(queue.reserve());
  CHECK(!queue.reserve());
  queue.push(entry_of(7));
  CHECK(!queue.reserve());  // what was completed has its place until it is taken
  cubby_done out[2];
  CHECK(queue.take(out, 2) == 1);
  CHECK(out[0].user == 107);
  CHECK(owner.taken_indexes == std::vector<uint32_t>{7});
  CHECK(queue.reserve());
  queue.unreserve();
  CHECK(queue.reserve());
}

TEST_CASE("completions are taken in their order, a few at a time") {
  counting_owner owner;
  cubby_cq queue(owner, 3);
  REQUIRE(queue.open().ok());
  cubby_done out[3];
  uint32_t next = 0, seen = 0;
  for (uint32_t round = 0; round < 5; ++round) {
    while (queue.reserve()) queue.push(entry_of(next++));
    const uint32_t count = queue.take(out, 2);
    REQUIRE(count == 2);
    for (uint32_t i = 0; i < count; ++i) CHECK(out[i].user == 100 + seen++);
  }
}

TEST_CASE("the descriptor of a queue is readable exactly while there is something to take") {
  counting_owner owner;
  cubby_cq queue(owner, 2);
  REQUIRE(queue.open().ok());
  REQUIRE(queue.reserve());
  queue.push(entry_of(1));
  const int fd = queue.descriptor();  // asked for after the first completion
  CHECK(readable(fd));
  REQUIRE(queue.reserve());
  queue.push(entry_of(2));
  cubby_done out[2];
  CHECK(queue.take(out, 1) == 1);
  CHECK(readable(fd));
  CHECK(queue.take(out, 1) == 1);
  CHECK(!readable(fd));
}

TEST_CASE("a queue is removed once nothing is reserved, or once its owner is gone") {
  counting_owner owner;
  cubby_cq queue(owner, 2);
  REQUIRE(queue.open().ok());
  REQUIRE(queue.reserve());
  CHECK(!queue.retire());
  queue.push(entry_of(3));
  CHECK(queue.hold_owner() == &owner);
  CHECK(owner.waiting_calls == 1);
  cubby_cq::let_go(&owner);
  CHECK(owner.waiting_calls == 0);

  queue.outlive();
  CHECK(queue.hold_owner() == nullptr);
  cubby_done out[2];
  CHECK(queue.take(out, 2) == 1);
  CHECK(owner.taken_indexes.empty());  // nobody is asked who is not there
  CHECK(queue.retire());
  CHECK(!queue.retire());
  CHECK(!queue.reserve());
}

}  // namespace completion_queue_test
