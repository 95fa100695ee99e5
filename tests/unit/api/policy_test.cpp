// Policies of the runtime: libraries by path, those that break the rules, forecasts.
#include <cubby/policy.h>

#include <cmath>
#include <cstdlib>
#include <functional>
#include <thread>

#include "unit/api/runtime_fixture.hpp"

namespace policy_test {

namespace {
using namespace api_test;

cubby_status open_with(const std::string &policy, cubby_handle **rt) {
  cubby_config config{};
  config.struct_size = sizeof config;
  config.pump = CUBBY_PUMP_CALLER;
  config.policy = policy.c_str();
  return cubby_open(&config, rt);
}

std::string log_of(cubby_handle *rt) {
  std::string all;
  cubby_log_line line{};
  while (cubby_log_take(rt, &line, 1) == 1) all += line.text + std::string("\n");
  return all;
}

std::function<void()> hook;
void call_hook() { hook(); }

}  // namespace

TEST_CASE("a policy library is held against policy.h before it is used") {
  cubby_handle *rt = nullptr;
  const auto refused = [&](const char *fault, const std::string &word) {
    setenv("CUBBY_BAD_POLICY", fault, 1);
    CHECK(open_with(CUBBY_BAD_POLICY_LIBRARY, &rt) == CUBBY_ERR_INVALID);
    INFO(explain());
    CHECK(explain().find(word) != std::string::npos);
    CHECK(rt == nullptr);
  };
  refused("version", "version 99");
  refused("small", "64 bytes");
  refused("nameless", "no name");
  refused("lacking", "no removed()");
  refused("nothing", "gave no table");
  refused("offline", "needs the future");
  CHECK(open_with("./no_such_policy.so", &rt) == CUBBY_ERR_INVALID);
  CHECK(explain().find("no_such_policy.so") != std::string::npos);
  CHECK(cubby_policy_load(nullptr, nullptr, 0) == nullptr);
  char why[8] = {};
  CHECK(cubby_policy_load("./no_such_policy.so", why, sizeof why) == nullptr);
  CHECK(std::string(why).size() == 7);
}

TEST_CASE("a policy that breaks the rules is named, and the runtime goes on without it") {
  for (const char *fault : {"outside", "again", "silent"}) {
    setenv("CUBBY_BAD_POLICY", fault, 1);
    weights w;
    cubby_handle *rt = nullptr;
    REQUIRE(open_with(CUBBY_BAD_POLICY_LIBRARY, &rt) == CUBBY_OK);
    runtime_fixture h(rt);
    h.map(w);
    const cubby_tier host = h.tier("host:0", 0, 1'300'000);
    for (uint32_t round = 0; round < 3; ++round) {
      for (uint32_t number = 0; number < weights::rows * weights::columns; ++number) {
        cubby_pins pins = 0;
        std::vector<const void *> addr;
        INFO(fault << " " << number);
        REQUIRE(h.pin({number}, host, pins, addr) == CUBBY_OK);
        for (uint32_t part = 0; part < weights::parts; ++part)
          CHECK(w.same(addr[part], number, part));
        CHECK(cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK);
      }
    }
    const std::string log = log_of(rt);
    INFO(log);
    CHECK(log.find("policy bad broke the rules") != std::string::npos);
    if (fault == std::string("silent"))
      CHECK(log.find("ended a round after 0 of ") != std::string::npos);
    CHECK(log.find("lru decides") != std::string::npos);
  }
}

TEST_CASE("what is foreseen for tokens ahead goes to a policy that wants it") {
  weights w;
  cubby_handle *rt = nullptr;
  for (const std::string policy : {"lru", "moe"}) {
    REQUIRE(open_with(policy, &rt) == CUBBY_OK);
    runtime_fixture h(rt);
    h.map(w);
    h.tier("host:0", 0, 2'000'000);
    const uint16_t columns[] = {1, 2};
    cubby_hint_item hint{};
    hint.struct_size = sizeof hint;
    hint.kind = CUBBY_HINT_ROUTE;
    hint.bank = h.bank;
    hint.route = {0, 1, 2, columns, nullptr};
    hint.ahead = 1;
    uint8_t outcome = 9;
    CHECK(cubby_hint(rt, &hint, 1, &outcome) == CUBBY_OK);
    CHECK(outcome == (policy == "lru" ? CUBBY_HINT_REJECTED : CUBBY_HINT_ACCEPTED));
    const uint16_t wrong[] = {1, 9999};
    hint.route.columns = wrong;
    CHECK(cubby_hint(rt, &hint, 1, &outcome) == CUBBY_OK);
    CHECK(outcome == CUBBY_HINT_REJECTED);
  }
}

TEST_CASE("routes of lockers that the tier can never hold, or of odd chances, fetch nothing") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_CALLER);
  h.map(w);
  const cubby_tier host = h.tier("host:0", 0, 300'000);  // less than any locker
  const uint16_t columns[] = {1, 2};
  cubby_hint_item hint{};
  hint.struct_size = sizeof hint;
  hint.kind = CUBBY_HINT_ROUTE;
  hint.bank = h.bank;
  hint.route = {0, 1, 2, columns, nullptr};
  uint8_t outcome = 9;
  CHECK(cubby_hint(h.rt, &hint, 1, &outcome) == CUBBY_OK);
  CHECK(outcome == CUBBY_HINT_REJECTED);
  REQUIRE(cubby_tier_resize(h.rt, host, 2'000'000, nullptr) == CUBBY_PENDING);
  const float chances[] = {std::nanf(""), 0.9F};
  hint.route.weights = chances;
  CHECK(cubby_hint(h.rt, &hint, 1, &outcome) == CUBBY_OK);
  CHECK(outcome == CUBBY_HINT_CLIPPED);
  REQUIRE(cubby_drain(h.rt, 5'000'000'000) == CUBBY_OK);
  const std::vector<cubby_item> which = h.items({9, 10});
  uint64_t ready_ns[2] = {};
  REQUIRE(cubby_estimate(h.rt, which.data(), 2, host, ready_ns) == CUBBY_OK);
  CHECK(ready_ns[0] != 0);
  CHECK(ready_ns[1] == 0);
}

TEST_CASE("who is declined leaves after its use, and is not read from the file again") {
  setenv("CUBBY_BAD_POLICY", "decline", 1);
  weights w;
  cubby_handle *rt = nullptr;
  REQUIRE(open_with(CUBBY_BAD_POLICY_LIBRARY, &rt) == CUBBY_OK);
  runtime_fixture h(rt);
  h.routed_count = 1;
  h.map(w);
  // Room for three, and for one on probation.
  const cubby_tier device = h.tier("device:0", 0, 1'700'000, 10'000'000'000);
  const cubby_tier host = h.tier("host:0", 1, 4'000'000, 0, CUBBY_TIER_EXCLUSIVE);
  const auto use = [&](uint32_t number) {
    cubby_pins pins = 0;
    std::vector<const void *> addr;
    INFO(number);
    REQUIRE(h.pin({number}, device, pins, addr) == CUBBY_OK);
    CHECK(w.same(addr[0], number, 0));
    CHECK(cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK);
    CHECK(cubby_poll(rt, 0, nullptr) == CUBBY_OK);
  };
  const auto resident = [&](uint32_t number, cubby_tier tier) {
    cubby_how how{};
    how.struct_size = sizeof how;
    how.flags = CUBBY_NO_WAIT | CUBBY_NO_VISIT;
    const auto one = h.items({number});
    cubby_pins pins = 0;
    const cubby_status status = cubby_pin(rt, one.data(), 1, tier, &how, &pins, nullptr, nullptr);
    if (status == CUBBY_OK) CHECK(cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK);
    return status == CUBBY_OK;
  };
  for (const uint32_t number : {0U, 1U}) {
    use(number);
    CHECK(resident(number, device));
    CHECK_FALSE(resident(number, host));  // an exclusive tier keeps nothing of what stays nearer
  }
  use(2);
  const bool third = resident(2, device);
  for (const uint32_t number : {8U, 9U, 10U}) use(number);
  for (const uint32_t number : {9U, 10U}) {
    CHECK_FALSE(resident(number, device));
    CHECK(resident(number, host));
  }
  CHECK(resident(2, device) == third);
  const uint64_t read_before = h.stats(host).bytes_in;
  use(9);
  use(10);
  CHECK(h.stats(host).bytes_in == read_before);
}

TEST_CASE("a visit for which the ring has no room is lost as a whole, and takes no other with it") {
  weights w;
  cubby_handle *rt = nullptr;
  REQUIRE(open_with("lru", &rt) == CUBBY_OK);
  runtime_fixture h(rt);
  h.map(w);
  h.tier("host:0", 0, 2'000'000);
  const uint16_t columns[] = {1, 2};
  // Three notes each, and an empty route between them: so the ring's last one stays free.
  const cubby_routed routed[] = {{0, 0, 2, columns, nullptr},
                                 {1, 2, 0, nullptr, nullptr},
                                 {1, 0, 2, columns, nullptr},
                                 {2, 0, 2, columns, nullptr}};
  constexpr uint64_t received = 85, lost = 15;
  for (uint64_t i = 0; i < received + lost; ++i)
    REQUIRE(cubby_visit(rt, h.bank, routed, 4) == CUBBY_OK);
  cubby_stats_block block{};
  block.struct_size = sizeof block;
  REQUIRE(cubby_stats(rt, &block, nullptr, 0) == CUBBY_OK);
  CHECK(block.visit_count == received);
  CHECK(block.visit_dropped_count == lost);
  REQUIRE(cubby_visit(rt, h.bank, routed, 4) == CUBBY_OK);
  REQUIRE(cubby_stats(rt, &block, nullptr, 0) == CUBBY_OK);
  CHECK(block.visit_count == received + 1);
}

TEST_CASE("a policy does not learn from every try of a set that waits for frames") {
  setenv("CUBBY_BAD_POLICY", "counting", 1);
  weights w;
  cubby_handle *rt = nullptr;
  REQUIRE(open_with(CUBBY_BAD_POLICY_LIBRARY, &rt) == CUBBY_OK);
  runtime_fixture h(rt);
  h.map(w);
  const cubby_tier host = h.tier("host:0", 0, 1'700'000);  // four
  cubby_pins held = 0, more = 0;
  std::vector<const void *> addr;
  REQUIRE(h.pin({0, 1}, host, held, addr) == CUBBY_OK);
  const auto wanted = h.items({2, 3, 4});
  std::vector<const void *> wanted_addr(wanted.size() * weights::parts);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_pin(rt, wanted.data(), 3, host, nullptr, &more, wanted_addr.data(), &ticket) ==
          CUBBY_PENDING);
  for (uint32_t i = 0; i < 50; ++i) {
    cubby_pins again = 0;
    REQUIRE(h.pin({0}, host, again, addr) == CUBBY_OK);
    CHECK(cubby_unpin(rt, again, 0, 0, nullptr) == CUBBY_OK);
    CHECK(cubby_poll(rt, 0, nullptr) == CUBBY_OK);
  }
  CHECK(std::atoi(std::getenv("CUBBY_TEST_INSERTED")) <= 2 + 2);  // those that came, and one try
  CHECK(cubby_unpin(rt, held, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_wait(rt, ticket, 10'000'000'000) == CUBBY_OK);
  CHECK(std::atoi(std::getenv("CUBBY_TEST_INSERTED")) <= 2 + 2 + 3);
  CHECK(cubby_unpin(rt, more, 0, 0, nullptr) == CUBBY_OK);
}

TEST_CASE(
    "a request is withdrawn though it came and was canceled while the pump did other things") {
  setenv("CUBBY_BAD_POLICY", "hooked", 1);
  setenv("CUBBY_TEST_HOOK", std::to_string(reinterpret_cast<uintptr_t>(&call_hook)).c_str(), 1);
  hook = [] {};
  weights w;
  cubby_handle *rt = nullptr;
  REQUIRE(open_with(CUBBY_BAD_POLICY_LIBRARY, &rt) == CUBBY_OK);
  runtime_fixture h(rt);
  h.map(w);
  const cubby_tier host = h.tier("host:0", 0, 400'000);  // for one
  cubby_pins held = 0, waits = 0;
  std::vector<const void *> addr;
  REQUIRE(h.pin({0}, host, held, addr) == CUBBY_OK);

  cubby_ticket ticket = 0;
  const auto other = h.items({1});
  hook = [&] {
    if (ticket != 0) return;
    std::thread([&] {
      std::vector<const void *> none(weights::parts);
      REQUIRE(cubby_pin(rt, other.data(), 1, host, nullptr, &waits, none.data(), &ticket) ==
              CUBBY_PENDING);
      REQUIRE(cubby_cancel(rt, ticket) == CUBBY_OK);
    }).join();
  };
  cubby_pins again = 0;
  REQUIRE(h.pin({0}, host, again, addr) == CUBBY_OK);  // a visit, for the next poll
  for (int i = 0; i < 10; ++i) CHECK(cubby_poll(rt, 0, nullptr) == CUBBY_OK);
  REQUIRE(ticket != 0);
  CHECK(cubby_wait(rt, ticket, 0) == CUBBY_ERR_CANCELED);
  hook = [] {};
  CHECK(cubby_unpin(rt, again, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_unpin(rt, held, 0, 0, nullptr) == CUBBY_OK);
}

}  // namespace policy_test
