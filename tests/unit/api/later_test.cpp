// The calls that are not built yet. The list only shrinks.
#include "unit/api/runtime_fixture.hpp"

using namespace api_test;

TEST_CASE("what is not built yet says so, with the remedy") {
  runtime_fixture h(CUBBY_PUMP_CALLER);
  cubby_item item{};
  const cubby_key key{};
  const uint64_t row = 0;
  const cubby_span span{};
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  void *addr = nullptr;
  cubby_split_result split{};
  const struct {
    const char *call;
    cubby_status status;
  } later[] = {
      {"cubby_reserve", cubby_reserve(h.rt, &item, 1, 1, nullptr, &pins, &addr, &ticket)},
      {"cubby_commit", cubby_commit(h.rt, 1, 0, 0, 1, nullptr, &ticket)},
      {"cubby_gather", cubby_gather(h.rt, 1, &row, 1, &span, nullptr, &ticket)},
      {"cubby_lease", cubby_lease(h.rt, 1, &key, 1, 0, &pins)},
      {"cubby_lease_end", cubby_lease_end(h.rt, 1, 0, 0)},
      {"cubby_split", cubby_split(h.rt, 1, &key, 1, &row, 1, &split)},
  };
  for (const auto &one : later) {
    INFO(one.call);
    CHECK(one.status == CUBBY_ERR_NOT_SUPPORTED);
  }
  cubby_lease_end(h.rt, 1, 0, 0);
  CHECK(explain().find("cubby_lease_end") != std::string::npos);
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_ROWS;
  desc.rows = desc.columns = 1;
  desc.locker_bytes = 64;
  cubby_bank bank = 0;
  CHECK(cubby_bank_add(h.rt, &desc, &bank) == CUBBY_ERR_NOT_SUPPORTED);
}
