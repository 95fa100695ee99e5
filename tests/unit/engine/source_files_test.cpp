// Files are held against what they were when their bank was mapped.
#include "engine/source_files.hpp"

#include "support/engine_fixture.hpp"
#include "support/failing_new.hpp"

namespace source_files_test {

using namespace cubby;
using namespace cubby::engine;
using cubby_test::engine_fixture;

namespace {

struct fixture : engine_fixture {
  const uint32_t disk = add_disk();
  locker_bank &bank = add_bank(2, 4096);

  fixture() { map(bank, disk); }
  void change_file() { world(disk).file.mtime_ns = 99; }
};

}  // namespace

TEST_CASE(
    "a file that has changed is noticed after 10 ms, once, and nothing is loaded from then on") {
  fixture h;
  CHECK(h.files.unchanged(h.bank));
  h.change_file();
  h.state.now_ns += 9'999'999;
  CHECK(h.files.unchanged(h.bank));
  h.state.now_ns += 1;
  CHECK_FALSE(h.files.unchanged(h.bank));
  CHECK(h.bank.failed.status == CUBBY_ERR_CORRUPT);
  CHECK(h.bank.failed.text.find("/models/weights.bin changed") != std::string::npos);
  h.world(h.disk).file.mtime_ns = 0;
  h.state.now_ns += 20'000'000;
  CHECK_FALSE(h.files.unchanged(h.bank));  // for good
  CHECK(h.logged.size() == 1);
}

TEST_CASE("why bytes are wrong is looked at at once: the change, or the reason that there was") {
  fixture h;
  CHECK(h.files.unchanged(h.bank));
  error why = fail(CUBBY_ERR_IO, "short");
  why.tier = 5;
  h.files.explain(h.bank, why);
  CHECK(why.status == CUBBY_ERR_IO);
  h.change_file();
  h.files.explain(h.bank, why);
  CHECK(why.status == CUBBY_ERR_CORRUPT);
  CHECK(why.tier == 5);
}

TEST_CASE("a change is one even without memory for what is said of it") {
  fixture h;
  h.change_file();
  bool same = true, happened = false;
  {
    const cubby_test::allocation_failure failing(0);
    same = h.files.unchanged(h.bank);
    happened = failing.happened();
  }
  CHECK(happened);
  CHECK_FALSE(same);
  CHECK(h.bank.failed.status == CUBBY_ERR_CORRUPT);
}

TEST_CASE("files are opened with their identity, and refused when they have another by then") {
  fixture h;
  std::vector<catalog::bank_file> fresh(1);
  fresh[0].path = "/models/other.bin";
  REQUIRE(h.files.open(fresh, h.disk).ok());
  CHECK(fresh[0].number == 1);
  h.files.close(fresh, h.disk);
  CHECK(fresh[0].number == 0);
  fresh[0].bytes = 7;  // known by now, and not what the file has
  const auto refused = h.files.open(fresh, h.disk);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().status == CUBBY_ERR_CORRUPT);
  CHECK(refused.failure().text.find("try again") != std::string::npos);
}

}  // namespace source_files_test
