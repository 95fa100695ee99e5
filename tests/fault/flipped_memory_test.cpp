// A bit that flips where a locker lies in memory: found when it is looked for, and when the locker
// is copied down; one locker's error, and no other's.
#include <thread>

#include "api/in_process.hpp"
#include "cuda/cuda.hpp"
#include "support/fake_cuda.hpp"
#include "unit/api/runtime_fixture.hpp"

using namespace api_test;
using cubby_test::fake_cuda;

namespace {

constexpr uint64_t mib = 1 << 20;
constexpr int64_t long_ns = 30'000'000'000;
constexpr uint32_t locker_count = weights::rows * weights::columns;

struct flip_fixture {
  fake_cuda driver;
  weights w;
  runtime_fixture h;
  cubby_tier device = 0, host = 0;

  explicit flip_fixture(bool threads = false, uint32_t pump = CUBBY_PUMP_CALLER,
                        uint32_t host_flags = 0, uint64_t device_bytes = 16 * mib)
      : driver({.seed = 4, .threads = threads}), h(pump) {
    auto *table = const_cast<cubby_cuda::driver_table *>(driver.table());
    REQUIRE(cubby::api::register_backend(h.rt, cubby_cuda_backend(), table) == CUBBY_OK);
    cubby_tier_desc desc{};
    desc.struct_size = sizeof desc;
    desc.backend = "cuda";
    desc.name = "device:0";
    desc.budget_bytes = device_bytes;
    REQUIRE(cubby_tier_add(h.rt, &desc, &device) == CUBBY_OK);
    host = h.tier("host:0", 1, 16 * mib, 0, host_flags);
    h.map(w);
  }
  flip_fixture(const flip_fixture &) = delete;
  flip_fixture &operator=(const flip_fixture &) = delete;

  /// Into the tier; where part 0 of each begins.
  std::vector<const void *> bring(const std::vector<uint32_t> &numbers, cubby_tier tier) {
    std::vector<const void *> addr, first;
    cubby_pins pins = 0;
    REQUIRE(h.pin(numbers, tier, pins, addr) == CUBBY_OK);
    REQUIRE(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
    for (size_t i = 0; i < numbers.size(); ++i) first.push_back(addr[i * weights::parts]);
    return first;
  }
  void flip_in_device(const void *part, uint64_t byte) {
    auto *at = const_cast<std::byte *>(static_cast<const std::byte *>(part)) + byte;
    std::byte seen{};
    driver.read(at, &seen, 1);
    seen ^= std::byte{16};
    driver.write(at, &seen, 1);
  }
  cubby_status verify(const std::vector<uint32_t> &numbers, cubby_tier tier,
                      std::vector<int8_t> &statuses) {
    const auto items = h.items(numbers);
    statuses.assign(numbers.size(), 99);
    cubby_how how{};
    how.struct_size = sizeof how;
    how.item_status = statuses.data();
    cubby_ticket ticket = 0;
    const cubby_status begun =
        cubby_verify(h.rt, items.data(), static_cast<uint32_t>(items.size()), tier, &how, &ticket);
    return begun == CUBBY_PENDING ? cubby_wait(h.rt, ticket, long_ns) : begun;
  }
};

}  // namespace

TEST_CASE("a flipped bit in a device's memory is one locker's, and is found when asked for") {
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool threads = GENERATE(false, true);
  flip_fixture f(threads, pump);
  const std::vector<uint32_t> all = {0, 1, 5, 9, 17, 23};
  const auto at = f.bring(all, f.device);
  const auto before = f.driver.count();
  std::vector<int8_t> statuses;
  CHECK(f.verify(all, f.device, statuses) == CUBBY_OK);
  CHECK(statuses == std::vector<int8_t>(6, CUBBY_OK));
  CHECK(f.h.stats(f.device).corrupt_count == 0);

  f.flip_in_device(at[3], GENERATE(uint64_t{0}, uint64_t{70'000}, uint64_t{304'127}));
  CHECK(f.verify({0, 1, 5, 9, 17, 23, 8}, f.device, statuses) == CUBBY_PARTIAL);
  CHECK(statuses == std::vector<int8_t>{0, 0, 0, CUBBY_ERR_CORRUPT, 0, 0, CUBBY_MISS});
  CHECK(f.h.stats(f.device).corrupt_count == 1);
  CHECK(f.driver.count().host_syncs == before.host_syncs);
  // It comes again, with the right bytes.
  CHECK(f.verify({9}, f.device, statuses) == CUBBY_MISS);
  const auto again = f.bring({9}, f.device);
  std::string seen(f.w.extent(9, 0).bytes, '\0');
  f.driver.read(again[0], seen.data(), seen.size());
  CHECK(f.w.same(seen.data(), 9, 0));
  CHECK(f.verify(all, f.device, statuses) == CUBBY_OK);
  CHECK(f.h.stats(f.device).pinned_bytes == 0);
}

TEST_CASE(
    "a damaged locker that somebody holds stays until it is let go, and is damaged till then") {
  flip_fixture f;
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(f.h.pin({3, 4}, f.device, pins, addr) == CUBBY_OK);
  f.flip_in_device(addr[0], 100);
  std::vector<int8_t> statuses;
  for (int i = 0; i < 2; ++i) {
    CHECK(f.verify({3, 4}, f.device, statuses) == CUBBY_PARTIAL);
    CHECK(statuses == std::vector<int8_t>{CUBBY_ERR_CORRUPT, CUBBY_OK});
  }
  CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(f.verify({3}, f.device, statuses) == CUBBY_ERR_CORRUPT);
  CHECK(f.verify({3}, f.device, statuses) == CUBBY_MISS);
}

TEST_CASE("host memory is looked at in place") {
  flip_fixture f;
  const auto at = f.bring({2, 3, 4}, f.host);
  std::vector<int8_t> statuses;
  CHECK(f.verify({2, 3, 4}, f.host, statuses) == CUBBY_OK);
  auto *byte = const_cast<char *>(static_cast<const char *>(at[1])) + 250'000;
  *byte = static_cast<char>(*byte ^ 1);
  CHECK(f.verify({2, 3, 4}, f.host, statuses) == CUBBY_PARTIAL);
  CHECK(statuses == std::vector<int8_t>{CUBBY_OK, CUBBY_ERR_CORRUPT, CUBBY_OK});
}

TEST_CASE("a bit that flipped in a device is found on the way down, and the file's bytes come") {
  const bool threads = GENERATE(false, true);
  flip_fixture f(threads, CUBBY_PUMP_CALLER, CUBBY_TIER_EXCLUSIVE, 2 * mib);  // five lockers
  const auto at = f.bring({0}, f.device);
  f.flip_in_device(at[0], 12'345);
  for (uint32_t number = 1; number < locker_count; ++number) f.bring({number}, f.device);
  REQUIRE(cubby_drain(f.h.rt, long_ns) == CUBBY_OK);
  CHECK(f.h.stats(f.device).corrupt_count == 1);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  for (const uint32_t number : {0u, 1u}) {
    REQUIRE(f.h.pin({number}, f.host, pins, addr) == CUBBY_OK);
    CHECK(f.w.same(addr[0], number, 0));
    CHECK(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  }
  CHECK(f.h.stats(f.device).corrupt_count == 1);
}

TEST_CASE("verifying refuses what it cannot do, is withdrawn, and ends with its device") {
  flip_fixture f;
  f.bring({0, 1, 2}, f.device);
  const auto items = f.h.items({0, 1, 2});
  cubby_ticket ticket = 0;
  CHECK(cubby_verify(f.h.rt, nullptr, 3, f.device, nullptr, &ticket) == CUBBY_ERR_INVALID);
  CHECK(cubby_verify(f.h.rt, items.data(), 3, f.device, nullptr, nullptr) == CUBBY_ERR_INVALID);
  CHECK(cubby_verify(f.h.rt, items.data(), 3, 99, nullptr, &ticket) == CUBBY_ERR_STALE);
  f.driver.hold(true);
  REQUIRE(cubby_verify(f.h.rt, items.data(), 3, f.device, nullptr, &ticket) == CUBBY_PENDING);
  cubby_poll(f.h.rt, 0, nullptr);
  CHECK(cubby_cancel(f.h.rt, ticket) == CUBBY_OK);
  cubby_poll(f.h.rt, 0, nullptr);
  f.driver.hold(false);
  CHECK(cubby_wait(f.h.rt, ticket, long_ns) == CUBBY_ERR_CANCELED);
  std::vector<int8_t> statuses;
  f.driver.lose_device();
  CHECK(f.verify({0, 1, 2}, f.device, statuses) == CUBBY_ERR_DEVICE);

  cubby_config config{};
  config.struct_size = sizeof config;
  config.verify = CUBBY_VERIFY_OFF;
  config.pump = CUBBY_PUMP_CALLER;
  cubby_handle *other = nullptr;
  REQUIRE(cubby_open(&config, &other) == CUBBY_OK);
  runtime_fixture h(other);
  const cubby_tier host = h.tier("host:0", 0, 8 * mib);
  CHECK(cubby_verify(other, items.data(), 1, host, nullptr, &ticket) == CUBBY_ERR_NOT_SUPPORTED);
}

TEST_CASE("what is still to be verified may leave meanwhile, and is missing then") {
  flip_fixture f;
  std::vector<uint32_t> all;
  for (uint32_t number = 0; number < 12; ++number) all.push_back(number);
  f.bring(all, f.device);
  const auto items = f.h.items(all);
  std::vector<int8_t> statuses(all.size(), 99);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.item_status = statuses.data();
  cubby_ticket ticket = 0;
  f.driver.hold(true);
  REQUIRE(cubby_verify(f.h.rt, items.data(), 12, f.device, &how, &ticket) == CUBBY_PENDING);
  cubby_poll(f.h.rt, 0, nullptr);
  REQUIRE(cubby_drop(f.h.rt, items.data() + 6, 6, f.device) == CUBBY_OK);
  cubby_poll(f.h.rt, 0, nullptr);
  f.driver.hold(false);
  CHECK(cubby_wait(f.h.rt, ticket, long_ns) == CUBBY_PARTIAL);
  for (size_t i = 0; i < 6; ++i) CHECK(statuses[i] == CUBBY_OK);
  for (size_t i = 6; i < 12; ++i) CHECK(statuses[i] == CUBBY_MISS);
  CHECK(f.h.stats(f.device).pinned_bytes == 0);
}

TEST_CASE("what of a withdrawn verification was not begun is withdrawn, too") {
  flip_fixture f;
  std::vector<uint32_t> all;
  for (uint32_t number = 0; number < 12; ++number) all.push_back(number);
  f.bring(all, f.device);
  const auto items = f.h.items(all);
  std::vector<int8_t> statuses(all.size(), 99);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.item_status = statuses.data();
  cubby_ticket ticket = 0;
  f.driver.hold(true);
  REQUIRE(cubby_verify(f.h.rt, items.data(), 12, f.device, &how, &ticket) == CUBBY_PENDING);
  cubby_poll(f.h.rt, 0, nullptr);
  REQUIRE(cubby_cancel(f.h.rt, ticket) == CUBBY_OK);
  f.driver.hold(false);
  CHECK(cubby_wait(f.h.rt, ticket, long_ns) == CUBBY_ERR_CANCELED);
  CHECK(statuses == std::vector<int8_t>(12, CUBBY_ERR_CANCELED));
  // Another one is served as ever.
  CHECK(f.verify(all, f.device, statuses) == CUBBY_OK);
}
