// Tickets of requests that end, are withdrawn, and whose places are used again.
#include "api/tickets.hpp"

#include "api/last_error.hpp"
#include "support/engine_fixture.hpp"

namespace tickets_test {

using namespace cubby;

namespace {

struct tickets_fixture : cubby_test::engine_fixture {
  api::tickets list{requests, state.pins};

  uint32_t accept() {
    const uint32_t index = requests.take(false);
    REQUIRE(index != engine::no_index);
    engine::request &r = requests[index];
    r.queue = nullptr;
    r.status = CUBBY_PENDING;
    requests.submit(index);
    REQUIRE(requests.accept() == index);
    return index;
  }
  void end(uint32_t index, cubby_status status) {
    engine::request &r = requests[index];
    r.status = status;
    if (status < 0) r.failure = fail(status, "it went wrong");
    const uint64_t life = r.life.load();
    r.life.store((life & ~uint64_t{0xFF}) | static_cast<uint64_t>(engine::request_state::done));
  }
};

}  // namespace

TEST_CASE_METHOD(tickets_fixture, "a ticket is pending until it is done, and is claimed once") {
  const uint32_t index = accept();
  const cubby_ticket ticket = list.of(index);
  CHECK(!list.done(ticket));
  CHECK(list.claim(ticket) == CUBBY_PENDING);
  end(index, CUBBY_OK);
  CHECK(list.done(ticket));
  CHECK(list.claim(ticket) == CUBBY_OK);
  CHECK(list.claim(ticket) == CUBBY_ERR_STALE);
  CHECK(list.done(ticket));  // nothing will come of it
  CHECK(!list.cancel(ticket));
}

TEST_CASE_METHOD(tickets_fixture, "the place of a request is used again by another ticket") {
  const uint32_t first = accept();
  const cubby_ticket before = list.of(first);
  end(first, CUBBY_OK);
  REQUIRE(list.claim(before) == CUBBY_OK);
  const uint32_t second = accept();
  REQUIRE(second == first);
  CHECK(list.of(second) != before);
  CHECK(list.claim(before) == CUBBY_ERR_STALE);
  CHECK(list.claim(list.of(second)) == CUBBY_PENDING);
  CHECK(list.claim(0) == CUBBY_ERR_STALE);
  CHECK(list.claim(~cubby_ticket{0}) == CUBBY_ERR_STALE);
}

TEST_CASE_METHOD(tickets_fixture, "a failed request leaves its error with whoever claims it") {
  const uint32_t index = accept();
  end(index, CUBBY_ERR_IO);
  CHECK(list.claim(list.of(index)) == CUBBY_ERR_IO);
  cubby_error why{};
  why.struct_size = sizeof why;
  char text[64];
  CHECK(cubby_explain(&why, text, sizeof text) == CUBBY_OK);
  CHECK(std::string(text) == "it went wrong");
  CHECK(why.status == CUBBY_ERR_IO);
}

TEST_CASE_METHOD(tickets_fixture,
                 "progress says what has come, and the end only once there is one") {
  const uint32_t index = accept();
  requests[index].user = 5;
  requests[index].bytes = 4096;
  requests[index].done_ns = 77;  // of the request before
  const cubby_ticket ticket = list.of(index);
  cubby_done out{};
  REQUIRE(list.progress(ticket, out));
  CHECK(out.status == CUBBY_PENDING);
  CHECK(out.user == 5);
  CHECK(out.bytes == 4096);
  CHECK(out.done_ns == 0);
  end(index, CUBBY_PARTIAL);
  REQUIRE(list.progress(ticket, out));
  CHECK(out.status == CUBBY_PARTIAL);
  CHECK(out.done_ns == 77);
  CHECK(list.cancel(ticket));
  CHECK(requests[index].cancel_wanted);
  CHECK(!list.progress(ticket + 1, out));
}

}  // namespace tickets_test
