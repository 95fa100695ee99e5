// A decode loop over a device's tier in the steady state: half of the lockers fit, the others come
// from host memory. The host takes no memory for it, and never waits for the device.
#include <array>
#include <atomic>
#include <cstdlib>

#include "api/in_process.hpp"
#include "cuda/cuda.hpp"
#include "support/idle_cuda.hpp"
#include "support/replaced_new.hpp"
#include "unit/api/runtime_fixture.hpp"

using namespace api_test;
using cubby_test::idle_cuda;

namespace {

std::atomic<uint64_t> taken_count{0};

bool count_taken() noexcept {
  taken_count.fetch_add(1);
  return true;
}

constexpr uint64_t mib = 1 << 20;
constexpr uint32_t used = 3;

/// One token: some lockers of each row, in the order of a stream.
void decode_token(const runtime_fixture &h, cubby_tier device, uint32_t &random) {
  cubby_sync sync{};
  sync.struct_size = sizeof sync;
  sync.stream = 7;
  cubby_how how{};
  how.struct_size = sizeof how;
  how.sync = &sync;
  for (uint32_t row = 0; row < weights::rows; ++row) {
    std::array<cubby_item, used> items{};
    std::array<const void *, size_t{used} * weights::parts> addresses{};
    random = random * 1664525 + 1013904223;
    for (uint32_t i = 0; i < used; ++i) {
      const uint32_t column = ((random >> 16) + i * 3) % weights::columns;
      items[i].id = CUBBY_ID(h.bank, row * weights::columns + column);
    }
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status status =
        cubby_pin(h.rt, items.data(), used, device, &how, &pins, addresses.data(), &ticket);
    if (status == CUBBY_PENDING) status = cubby_wait(h.rt, ticket, 10'000'000'000);
    if (status != CUBBY_OK) abort();
    if (cubby_unpin(h.rt, pins, 0, 0, &sync) != CUBBY_OK) abort();
  }
}

}  // namespace

TEST_CASE("a decode loop over a device takes no memory, and never waits for the device") {
  const auto pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const bool batches = GENERATE(false, true);
  cubby_cuda::driver_table driver = idle_cuda::table(batches);
  weights w;
  runtime_fixture h(pump, 16);
  REQUIRE(cubby::api::register_backend(h.rt, cubby_cuda_backend(), &driver) == CUBBY_OK);
  cubby_tier_desc desc{};
  desc.struct_size = sizeof desc;
  desc.backend = "cuda";
  desc.name = "device:0";
  desc.budget_bytes = 5 * mib;
  cubby_tier device = 0;
  const cubby_status added = cubby_tier_add(h.rt, &desc, &device);
  INFO(explain());
  REQUIRE(added == CUBBY_OK);
  h.tier("host:0", 1, 16 * mib);
  h.map(w);
  uint32_t random = 1;
  uint64_t allocated = 1;
  for (uint32_t window = 0; window < 10 && allocated != 0; ++window) {
    REQUIRE(cubby_drain(h.rt, 10'000'000'000) == CUBBY_OK);
    const uint64_t copies = idle_cuda::copies, calls = idle_cuda::batches, waits = idle_cuda::waits;
    taken_count = 0;
    cubby_test::before_allocation = count_taken;
    for (uint32_t token = 0; token < 100; ++token) decode_token(h, device, random);
    cubby_test::before_allocation = nullptr;
    allocated = taken_count;
    CHECK(idle_cuda::copies - copies >= 100);
    CHECK((idle_cuda::batches != calls) == batches);
    CHECK(idle_cuda::waits == waits);
  }
  CAPTURE(pump, batches);
  CHECK(allocated == 0);
}
