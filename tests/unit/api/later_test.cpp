// The calls that are not built yet. The list only shrinks.
#include "unit/api/runtime_fixture.hpp"

using namespace api_test;

TEST_CASE("what is not built yet says so, with the remedy") {
  runtime_fixture h(CUBBY_PUMP_CALLER);
  const uint64_t row = 0;
  const cubby_span span{};
  cubby_ticket ticket = 0;
  const struct {
    const char *call;
    cubby_status status;
  } later[] = {
      {"cubby_gather", cubby_gather(h.rt, 1, &row, 1, &span, nullptr, &ticket)},
  };
  for (const auto &one : later) {
    INFO(one.call);
    CHECK(one.status == CUBBY_ERR_NOT_SUPPORTED);
  }
  CHECK(explain().find("cubby_gather") != std::string::npos);
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_ROWS;
  desc.rows = desc.columns = 1;
  desc.locker_bytes = 64;
  cubby_bank bank = 0;
  CHECK(cubby_bank_add(h.rt, &desc, &bank) == CUBBY_ERR_NOT_SUPPORTED);
}
