// Budgets that no machine has: refused before memory is touched, for touching it would end us.
#include "unit/api/house.hpp"

using namespace api_test;

TEST_CASE("a budget beyond the machine's memory is refused, when added and when resized") {
  house h(CUBBY_PUMP_CALLER);
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
