// Visits on their way: whole or not at all, and the same behind the ring as before it.
#include "engine/access_events.hpp"

#include "support/catch.hpp"

namespace access_events_test {

using namespace cubby;
using namespace cubby::engine;

namespace {

/// A registry with one bank of rows × 64 lockers.
struct registry_with_bank {
  bank_registry banks{1};
  locker_bank *bank = nullptr;

  explicit registry_with_bank(uint32_t rows) {
    cubby_bank_desc desc{};
    desc.struct_size = sizeof desc;
    desc.name = "experts";
    desc.rows = rows;
    desc.columns = 64;
    desc.locker_bytes = 4096;
    auto made = locker_bank::describe(desc);
    REQUIRE(made.ok());
    auto inserted = banks.insert(std::move(*made));
    REQUIRE(inserted.ok());
    bank = *inserted;
    banks.publish(*bank);
  }
};

struct seen_visit {
  uint32_t row;
  std::vector<cubby_object> used;
  std::vector<std::pair<uint32_t, uint32_t>> routes;  // slot, count
  bool operator==(const seen_visit &) const = default;
};

std::vector<seen_visit> assemble(thread_shard &shard, const bank_registry &banks) {
  std::vector<seen_visit> seen;
  assemble_visits(shard, banks, [&](locker_bank &, uint32_t row, assembled_visit &visit) {
    visit.finish();
    seen_visit one{row, visit.used, {}};
    for (const cubby_policy_route &route : visit.routes) {
      one.routes.emplace_back(route.slot, route.count);
    }
    seen.push_back(one);
  });
  return seen;
}

}  // namespace

TEST_CASE("a visit in one event, and one that names a locker twice") {
  const registry_with_bank here(2);
  thread_shard shard;
  const std::array<uint32_t, 3> numbers{65, 70, 65};
  record_visit(shard, here.bank->handle, 3, [&](size_t i) { return numbers[i]; });
  const auto base = here.bank->object_base;
  CHECK(assemble(shard, here.banks) ==
        std::vector<seen_visit>{{1, {base + 65, base + 70}, {{0, 3}}}});
  CHECK(assemble(shard, here.banks).empty());
}

TEST_CASE("the routes of a batch are one visit, and long ones are put together again") {
  const registry_with_bank here(1);
  thread_shard shard;
  event_chain chain;
  std::vector<uint32_t> many;
  for (uint32_t i = 0; i < 30; ++i) many.push_back(i);
  record_route(shard, here.bank->handle, chain, many, 0);
  record_route(shard, here.bank->handle, chain, std::array<uint32_t, 2>{3, 40}, 5);
  end_visit(shard, chain);
  const auto seen = assemble(shard, here.banks);
  REQUIRE(seen.size() == 1);
  CHECK(seen[0].routes == std::vector<std::pair<uint32_t, uint32_t>>{{0, 30}, {5, 2}});
  CHECK(seen[0].used.size() == 31);
}

TEST_CASE("the blocks that a call has used are one visit, in their order") {
  const registry_with_bank here(1);
  for (const uint32_t count : {0u, 1u, 12u, 13u, 60u}) {
    thread_shard shard;
    std::vector<cubby_object> expected;
    {
      used_blocks used(shard);
      for (uint32_t i = 0; i < count; ++i) {
        used.add(here.bank->handle, count - i);
        expected.push_back(here.bank->object_base + count - i);
      }
      CHECK(assemble(shard, here.banks).empty());
    }
    const auto seen = assemble(shard, here.banks);
    CAPTURE(count);
    REQUIRE(seen.size() == (count == 0 ? 0 : 1));
    if (count == 0) continue;
    CHECK(seen[0].used == expected);
    CHECK(seen[0].routes == std::vector<std::pair<uint32_t, uint32_t>>{{0, count}});
  }
}

TEST_CASE("a full ring loses visits whole and counts them") {
  const registry_with_bank here(1);
  thread_shard shard;
  uint32_t recorded = 0;
  while (shard.dropped_count.load() == 0) {
    record_visit(shard, here.bank->handle, 1, [](size_t) { return 9u; });
    ++recorded;
  }
  event_chain chain;
  record_route(shard, here.bank->handle, chain, std::array<uint32_t, 20>{}, 0);
  end_visit(shard, chain);
  CHECK(shard.dropped_count.load() == 2);
  CHECK(assemble(shard, here.banks).size() == recorded - 1);
}

TEST_CASE("what was recorded of a bank that is gone counts for no other bank") {
  registry_with_bank here(1);
  thread_shard shard;
  const cubby_bank handle = here.bank->handle;
  record_visit(shard, handle, 1, [](size_t) { return 3u; });
  here.banks.withdraw(*here.bank);
  CHECK(assemble(shard, here.banks).empty());
}

}  // namespace access_events_test
