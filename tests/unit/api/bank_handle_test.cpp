// Handles of banks that come and go, and a map that fails.
#include "unit/api/runtime_fixture.hpp"

namespace bank_handle_test {

namespace {

cubby_bank add(cubby_handle *rt, const char *name) {
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_BANK_OTHER;
  desc.name = name;
  desc.rows = 1;
  desc.columns = 2;
  desc.locker_bytes = 4096;
  cubby_bank made = 0;
  INFO(api_test::explain());
  REQUIRE(cubby_bank_add(rt, &desc, &made) == CUBBY_OK);
  return made;
}

}  // namespace

TEST_CASE("the handle of a removed bank stays stale, however many banks come after it") {
  const api_test::runtime_fixture some(CUBBY_PUMP_CALLER);
  const cubby_bank first = add(some.rt, "first");
  REQUIRE(cubby_bank_remove(some.rt, first) == CUBBY_OK);
  cubby_bank_desc info{};
  info.struct_size = sizeof info;
  for (int round = 0; round < 1500; ++round) {
    const cubby_bank next = add(some.rt, "next");
    if (next == first) FAIL("given out again in round " << round);
    if (cubby_bank_info(some.rt, first, &info) != CUBBY_ERR_STALE) FAIL("round " << round);
    REQUIRE(cubby_bank_remove(some.rt, next) == CUBBY_OK);
  }
}

TEST_CASE("a bank that could not be mapped is as it was, and can be mapped then") {
  const api_test::weights file;
  const api_test::runtime_fixture some(CUBBY_PUMP_CALLER);
  const cubby_bank bank = add(some.rt, "weights");
  const char *const name = file.path.c_str();
  cubby_extent extents[] = {{CUBBY_ID(bank, 0), 0, 0, 64, 4096},
                            {CUBBY_ID(bank, 0), 0, 0, 8256, 4096}};
  REQUIRE(cubby_bank_map(some.rt, bank, &name, 1, extents, 2) == CUBBY_ERR_INVALID);
  cubby_extent found{};
  CHECK(cubby_bank_extent(some.rt, bank, 0, 0, &found) == CUBBY_MISS);
  cubby_file_info info{};
  info.struct_size = sizeof info;
  CHECK(cubby_bank_file(some.rt, bank, 0, &info) == CUBBY_MISS);
  extents[1].id = CUBBY_ID(bank, 1);
  REQUIRE(cubby_bank_map(some.rt, bank, &name, 1, extents, 2) == CUBBY_OK);
  CHECK(cubby_bank_extent(some.rt, bank, 1, 0, &found) == CUBBY_OK);
  CHECK(found.offset_bytes == 8256);
}

}  // namespace bank_handle_test
