// Budgets that no machine has: refused before memory is touched, for touching it would end us.
#include "unit/api/runtime_fixture.hpp"

namespace budget_test {

using namespace api_test;

TEST_CASE("a budget beyond the machine's memory is refused, when added and when resized") {
  runtime_fixture h(CUBBY_PUMP_CALLER);
  for (const uint64_t budget : {~uint64_t{0}, uint64_t{1} << 60, uint64_t{1} << 48}) {
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "host";
    desc.name = "host:0";
    desc.device = -1;
    desc.budget_bytes = budget;
    cubby_tier made = 0;
    CHECK(cubby_tier_add(h.rt, &desc, &made) == CUBBY_ERR_BUDGET);
    cubby_error why{};
    why.struct_size = sizeof why;
    char text[512] = {};
    cubby_explain(&why, text, sizeof text);
    CHECK(why.needed_bytes == budget);
    CHECK(std::string(text).find("the machine has") != std::string::npos);
  }
  const cubby_tier host = h.tier("host:0", 0, 4 << 20);
  cubby_ticket ticket = 0;
  CHECK(cubby_tier_resize(h.rt, host, ~uint64_t{0}, &ticket) == CUBBY_ERR_BUDGET);
  CHECK(ticket == 0);
  CHECK(cubby_tier_resize(h.rt, host, 8 << 20, &ticket) == CUBBY_PENDING);
  CHECK(cubby_wait(h.rt, ticket, 10'000'000'000) == CUBBY_OK);
}

TEST_CASE(
    "a set that waits, and that a resize has made impossible, completes at once with an error") {
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  weights w;
  runtime_fixture h(pump);
  const cubby_tier host = h.tier("host:0", 0, 4 << 20);
  h.map(w);
  cubby_pins held = 0;
  std::vector<const void *> addr;
  REQUIRE(h.pin({0, 1}, host, held, addr) == CUBBY_OK);
  const auto items = h.items({8, 9, 10, 11, 12, 13, 14, 15, 16, 17});
  cubby_pins pins = 0;
  cubby_ticket waiting = 0, resized = 0;
  REQUIRE(cubby_pin(h.rt, items.data(), 10, host, nullptr, &pins, nullptr, &waiting) ==
          CUBBY_PENDING);
  REQUIRE(cubby_tier_resize(h.rt, host, 2 << 20, &resized) == CUBBY_PENDING);
  CHECK(cubby_wait(h.rt, waiting, 20'000'000'000) == CUBBY_ERR_BUDGET);
  CHECK(explain().find("the budget was lowered") != std::string::npos);
  CHECK(cubby_wait(h.rt, resized, 20'000'000'000) == CUBBY_OK);
  CHECK(cubby_unpin(h.rt, held, 0, 0, nullptr) == CUBBY_OK);
}

}  // namespace budget_test
