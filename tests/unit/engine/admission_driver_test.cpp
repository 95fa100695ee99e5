// What becomes of a copy that leaves a tier.
#include "engine/admission_driver.hpp"

#include "support/engine_fixture.hpp"

namespace admission_driver_test {

using namespace cubby;
using namespace cubby::engine;
using cubby_test::engine_fixture;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;

/// The tier below takes what leaves the device.
struct fixture : engine_fixture {
  const uint32_t device = add_host("device", 0, mib);
  const uint32_t below = add_host("below", 1, mib, CUBBY_TIER_EXCLUSIVE);
  const uint32_t disk = add_disk();
  locker_bank &bank = add_bank(8, 4096);

  fixture() { map(bank, disk); }
  void measure(uint32_t tier, uint64_t ns) {
    state.tiers[tier].way.started(state.now_ns);
    state.tiers[tier].way.ended(mib, state.now_ns + ns, true);
  }
  void stand_aside() {
    measure(below, 600'000);
    measure(disk, 200'000);
    REQUIRE(state.tiers[below].stand_aside.set(true, state.now_ns));
  }
  /// A copy leaves the device. True: it is on its way down.
  bool is_demoted(uint32_t number) {
    land(bank, device, number);
    admission_driver driver(state, table);
    REQUIRE(driver.begin_evict(device, bank.object_base + number));
    driver.finish_evict(device, bank.object_base + number, placement::departure::demoted);
    return bank.word(below, number).look().state == locker_state::filling;
  }
};

}  // namespace

TEST_CASE("what a file has is not copied to a tier that stands aside for that file") {
  fixture h;
  CHECK(h.is_demoted(1));
  h.stand_aside();
  CHECK_FALSE(h.is_demoted(2));
}

TEST_CASE("what its file does not have any more goes to a tier that stands aside") {
  fixture h;
  h.stand_aside();
  h.bank.failed = fail(CUBBY_ERR_CORRUPT, "the file has changed");
  CHECK(h.is_demoted(1));
}

TEST_CASE("what slower files have goes to a tier that stands aside for others") {
  fixture h;
  h.stand_aside();
  for (int i = 0; i < 50; ++i) h.measure(h.disk, 2'000'000);
  CHECK(h.is_demoted(1));
}

}  // namespace admission_driver_test
