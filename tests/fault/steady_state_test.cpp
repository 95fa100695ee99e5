// Once its tables have the size of their busiest moment, the runtime takes no memory to serve
// misses: not for the request, its fills and frames, evictions, demotions, the policy, or the
// completion.
#include <array>
#include <atomic>
#include <cstdlib>

#include "support/replaced_new.hpp"
#include "unit/api/table_fixture.hpp"

namespace {

std::atomic<uint64_t> allocation_count{0};

bool count_allocation() noexcept {
  allocation_count.fetch_add(1);
  return true;
}

}  // namespace

using namespace api_test;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;

struct pinned_row {
  std::array<cubby_item, weights::columns> items{};
  std::array<const void *, size_t{weights::columns} * weights::parts> addresses{};
};

/// Pins each row in turn, waits for it and lets it go.
void use_all_rows(const runtime_fixture &h, cubby_tier tier, cubby_cq *queue, uint32_t flags) {
  for (uint32_t row = 0; row < weights::rows; ++row) {
    pinned_row one;
    for (uint32_t i = 0; i < weights::columns; ++i) {
      one.items[i].id = CUBBY_ID(h.bank, row * weights::columns + i);
    }
    cubby_how how{};
    how.struct_size = sizeof how;
    how.flags = flags;
    how.cq = queue;
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    const cubby_status status = cubby_pin(h.rt, one.items.data(), weights::columns, tier, &how,
                                          &pins, one.addresses.data(), &ticket);
    if (status == CUBBY_PENDING) {
      cubby_done done{};
      if (cubby_cq_wait(queue, 10'000'000'000) != CUBBY_OK) abort();
      if (cubby_cq_take(queue, &done, 1) != 1 || done.status != CUBBY_OK) abort();
    } else if (status != CUBBY_OK) {
      abort();
    }
    if (cubby_unpin(h.rt, pins, 0, 0, nullptr) != CUBBY_OK) abort();
  }
}

}  // namespace

TEST_CASE("misses in the steady state allocate nothing") {
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const uint32_t flags = GENERATE(0u, uint32_t{CUBBY_BYPASS}, uint32_t{CUBBY_NO_VISIT});
  const bool two_tiers = GENERATE(false, true);
  weights w;
  runtime_fixture h(pump, 16);
  const cubby_tier near = h.tier("device:0", 0, 4 * mib, two_tiers ? uint64_t{8} << 30 : 0);
  if (two_tiers) h.tier("host:0", 1, 4 * mib, 0, CUBBY_TIER_EXCLUSIVE);
  h.map(w);
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(h.rt, 8, &queue) == CUBBY_OK);
  // A busier moment than all before may come late, and then a table grows once more.
  uint64_t allocated = 1;
  for (uint32_t window = 0; window < 10 && allocated != 0; ++window) {
    REQUIRE(cubby_drain(h.rt, 10'000'000'000) == CUBBY_OK);
    const uint64_t misses_before = h.stats(near).miss_count;
    allocation_count = 0;
    cubby_test::before_allocation = count_allocation;
    for (uint32_t round = 0; round < 50; ++round) use_all_rows(h, near, queue, flags);
    cubby_test::before_allocation = nullptr;
    allocated = allocation_count;
    CHECK(h.stats(near).miss_count - misses_before >= 100);
  }
  CAPTURE(pump, flags, two_tiers);
  CHECK(allocated == 0);
  cubby_cq_remove(queue);
}

TEST_CASE("gathers of what is in memory allocate nothing") {
  table_file file;
  const table_fixture f(file, GENERATE(0u, 1u));
  const std::vector<uint64_t> rows = f.random_rows(500, 1);
  f.check(all_rows(file));
  std::string seen(rows.size() * table_file::row_bytes, 'x');
  cubby_span span{};
  span.offset_bytes = reinterpret_cast<uintptr_t>(seen.data());
  span.bytes = seen.size();
  cubby_status status = CUBBY_OK;
  uint64_t allocated = 1;
  for (uint32_t window = 0; window < 10 && allocated != 0; ++window) {
    REQUIRE(cubby_drain(f.h.rt, 10'000'000'000) == CUBBY_OK);
    allocation_count = 0;
    cubby_test::before_allocation = count_allocation;
    for (uint32_t round = 0; round < 20 && status == CUBBY_OK; ++round) {
      status = cubby_gather(f.h.rt, f.bank, rows.data(), 500, &span, nullptr, nullptr);
    }
    cubby_test::before_allocation = nullptr;
    allocated = allocation_count;
  }
  CHECK(status == CUBBY_OK);
  CHECK(allocated == 0);
  CHECK(seen == file.rows(rows));
}
