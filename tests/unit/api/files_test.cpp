// What is no regular file is refused at once, and nobody else waits for the file system meanwhile.
#include <sys/stat.h>

#include "unit/api/runtime_fixture.hpp"

namespace files_test {

using namespace api_test;

TEST_CASE("a bank is not mapped over a pipe, a device or a folder") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_CALLER);
  const cubby_tier tier = h.tier("host:0", 0, 16 << 20);
  h.map(w);
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.name = "other";
  desc.rows = 1;
  desc.columns = 1;
  desc.locker_bytes = 4096;
  cubby_bank bank = 0;
  REQUIRE(cubby_bank_add(h.rt, &desc, &bank) == CUBBY_OK);
  const std::string pipe = w.path + ".pipe";
  REQUIRE(mkfifo(pipe.c_str(), 0600) == 0);
  const cubby_extent extent{CUBBY_ID(bank, 0), 0, 0, 0, 4096};
  for (const std::string &path : {pipe, std::string("/dev/zero"), std::string("/tmp")}) {
    CAPTURE(path);
    const char *name = path.c_str();
    CHECK(cubby_bank_map(h.rt, bank, &name, 1, &extent, 1) == CUBBY_ERR_INVALID);
    CHECK(explain().find("not a regular file") != std::string::npos);
  }
  std::remove(pipe.c_str());
  const char *good = w.path.c_str();
  CHECK(cubby_bank_map(h.rt, bank, &good, 1, &extent, 1) == CUBBY_OK);
  cubby_pins pins = 0;
  std::vector<const void *> addr;
  CHECK(h.pin({1}, tier, pins, addr) == CUBBY_OK);
}

}  // namespace files_test
