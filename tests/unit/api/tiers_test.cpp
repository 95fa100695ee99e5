// Two tiers together: what one gives up the other takes, and the file is read for neither.
#include <cstdlib>

#include "unit/api/house.hpp"

namespace {
using namespace api_test;

constexpr uint64_t mib = 1 << 20;
constexpr uint64_t link_bytes_per_s = 20'000'000'000;

/// Bytes that the files gave.
uint64_t read_bytes(const house &h) {
  cubby_stats_block block{};
  block.struct_size = sizeof block;
  cubby_tier_stats all[8]{};
  for (auto &one : all) one.struct_size = sizeof one;
  REQUIRE(cubby_stats(h.rt, &block, all, 8) == CUBBY_OK);
  uint64_t bytes = 0;
  for (uint32_t i = 0; i < block.tier_count; ++i) {
    if (all[i].budget_bytes == 0) bytes += all[i].bytes_out;
  }
  return bytes;
}

void use(house &h, const std::vector<uint32_t> &numbers, cubby_tier tier) {
  cubby_pins pins = 0;
  std::vector<const void *> addr;
  INFO(explain());
  REQUIRE(h.pin(numbers, tier, pins, addr) == CUBBY_OK);
  CHECK(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_poll(h.rt, 0, nullptr) == CUBBY_OK);
}

}  // namespace

TEST_CASE("all victims of a set go down, however many there are at once") {
  const std::string policy = GENERATE("lru", "moe");
  weights w;
  cubby_config config{};
  config.struct_size = sizeof config;
  config.pump = CUBBY_PUMP_CALLER;
  config.policy = policy.c_str();
  cubby_handle *rt = nullptr;
  REQUIRE(cubby_open(&config, &rt) == CUBBY_OK);
  house h(rt);
  h.routed_count = 4;
  h.map(w);
  const cubby_tier device = h.tier("device:0", 0, 5 * mib, link_bytes_per_s);
  h.tier("host:0", 1, 12 * mib, 0, CUBBY_TIER_EXCLUSIVE);
  uint64_t read_once = 0;
  for (uint32_t round = 0; round < 3; ++round) {
    for (uint32_t first = 0; first < weights::rows * weights::columns; first += 4)
      use(h, {first, first + 1, first + 2, first + 3}, device);
    if (round == 0) read_once = read_bytes(h);
  }
  INFO(policy);
  CHECK(read_bytes(h) == read_once);
}
