// Where a fill gets its bytes: the nearest copy, another fill, the file, in this order.
#include "engine/sources.hpp"

#include "support/engine_fixture.hpp"
#include "support/failing_new.hpp"

namespace sources_test {

using namespace cubby;
using namespace cubby::engine;
using cubby_test::engine_fixture;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;

struct fixture : engine_fixture {
  const uint32_t host_flags;
  const uint32_t device = add_device("device", 0, mib);
  const uint32_t twin = add_device("twin", 1, mib);
  const uint32_t far = add_host("far", 3, mib, host_flags);  // before the nearer one
  const uint32_t host = add_host("host", 2, mib, host_flags);
  const uint32_t disk = add_disk();
  locker_bank &bank = add_bank(8, 4096);
  sources from{state, table, copies, files};

  explicit fixture(uint32_t flags = 0) : host_flags(flags) {}
  uint32_t begin(uint32_t tier, uint32_t number) {
    const uint32_t index = reserve(bank, tier, number, {CUBBY_DEMAND, base::never_ns, 4});
    table[index].state = fill_state::active;
    return index;
  }
  /// A MiB on the way from the tier took so long.
  void measure(uint32_t tier, uint64_t ns) {
    transfer::way_cost &way = state.tiers[tier].way;
    way.started(state.now_ns);
    way.ended(mib, state.now_ns + ns, true);
  }
  /// The tier is dearer than the file.
  transfer::stand_aside &stand_aside(uint32_t tier) {
    measure(tier, 600'000);
    REQUIRE(state.tiers[tier].stand_aside.set(true, state.now_ns));
    return state.tiers[tier].stand_aside;
  }
  /// The fill reads, from this tier.
  [[nodiscard]] uint32_t source_of(uint32_t index) {
    const auto chosen = from.choose(index);
    REQUIRE(chosen.ok());
    REQUIRE(*chosen == sources::choice::reads);
    return table[index].from;
  }
};

}  // namespace

TEST_CASE("the nearest copy that can be reached is held and read") {
  fixture h;
  h.map(h.bank, h.disk);
  for (const uint32_t tier : {h.far, h.host, h.twin}) h.land(h.bank, tier, 1);
  const uint32_t index = h.begin(h.device, 1);
  CHECK(h.source_of(index) == h.host);  // the twin is nearer, but no device reaches another
  CHECK(h.bank.word(h.host, 1).look().pin_count == 1);
  CHECK(h.bank.word(h.twin, 1).look().pin_count == 0);
  CHECK(h.bank.word(h.far, 1).look().pin_count == 0);
}

TEST_CASE("a copy that was found damaged is not asked again, and one that leaves is none") {
  fixture h;
  h.map(h.bank, h.disk);
  h.land(h.bank, h.host, 1);
  h.land(h.bank, h.far, 1);
  const uint32_t index = h.begin(h.device, 1);
  h.table[index].bad_tier = h.host;
  CHECK(h.source_of(index) == h.far);
  h.land(h.bank, h.host, 2);
  REQUIRE(h.bank.word(h.host, 2).begin_evict());
  CHECK(h.source_of(h.begin(h.device, 2)) == h.disk);
}

TEST_CASE("what another fill brings nearer is waited for, while that fill runs") {
  fixture h;
  h.map(h.bank, h.disk);
  const uint32_t leader = h.begin(h.host, 1);
  const uint32_t index = h.begin(h.device, 1);
  const auto chosen = h.from.choose(index);
  REQUIRE(chosen.ok());
  CHECK(*chosen == sources::choice::follows);
  CHECK(h.table[index].state == fill_state::following);
  CHECK(h.table[index].leader == leader);
  CHECK(h.table[leader].first_follower == index);
  for (const fill_state state : {fill_state::stopping, fill_state::reserved}) {
    h.table.unfollow(index);
    h.table[index].state = fill_state::active;
    h.table[leader].state = state;
    CHECK(h.source_of(index) == h.disk);
  }
}

TEST_CASE("a fill that another device makes cannot be followed") {
  fixture h;
  h.map(h.bank, h.disk);
  h.begin(h.twin, 1);
  CHECK(h.source_of(h.begin(h.device, 1)) == h.disk);
}

TEST_CASE("files are read straight into frames that they reach") {
  fixture h;
  h.map(h.bank, h.disk);
  const uint32_t index = h.begin(h.host, 1);
  CHECK(h.source_of(index) == h.disk);
  CHECK(h.table[index].intermediate == no_tier);
}

TEST_CASE("on its way to a device a locker leaves a copy in host memory") {
  fixture h;
  h.map(h.bank, h.disk);
  const uint64_t used = h.state.tiers[h.far].memory->used_bytes();
  const uint32_t index = h.begin(h.device, 1);
  CHECK(h.source_of(index) == h.disk);
  const fill &f = h.table[index];
  REQUIRE(f.intermediate == h.far);  // the tier that came first
  CHECK(h.state.tiers[h.far].memory->used_bytes() > used);
  const locker_word::view word = h.bank.word(h.far, 1).look();
  CHECK(word.state == locker_state::filling);
  CHECK(word.frame == index);
  CHECK(h.state.admission.is_admitted(h.far, h.bank.object_base + 1));
  CHECK_FALSE(f.intermediate_ready);
}

TEST_CASE("an exclusive tier takes no copy on the way, and neither does one without room") {
  fixture exclusive(CUBBY_TIER_EXCLUSIVE);
  exclusive.map(exclusive.bank, exclusive.disk);
  const uint32_t index = exclusive.begin(exclusive.device, 1);
  CHECK(exclusive.source_of(index) == exclusive.disk);
  CHECK(exclusive.table[index].intermediate == no_tier);
  fixture full;
  full.map(full.bank, full.disk);
  for (const uint32_t tier : {full.host, full.far}) {
    while (full.state.tiers[tier].memory->take(4096)) {
    }
  }
  const uint32_t other = full.begin(full.device, 1);
  CHECK(full.source_of(other) == full.disk);
  CHECK(full.table[other].intermediate == no_tier);
  CHECK(full.bank.word(full.host, 1).look().state == locker_state::absent);
}

TEST_CASE("without a copy on the way and without staging a device cannot be filled") {
  fixture h(CUBBY_TIER_EXCLUSIVE);
  h.map(h.bank, h.disk);
  h.no_host_memory = true;
  h.state.tiers[h.disk].staging->take();  // the first take tells
  while (h.state.tiers[h.disk].staging->usable()) h.state.tiers[h.disk].staging->take();
  const uint32_t index = h.begin(h.device, 1);
  const auto chosen = h.from.choose(index);
  REQUIRE_FALSE(chosen.ok());
  CHECK(chosen.failure().status == CUBBY_ERR_NO_MEMORY);
  CHECK(h.table[index].from == no_tier);
  CHECK(h.source_of(h.begin(h.host, 2)) == h.disk);  // needs none
}

TEST_CASE("nothing has the bytes: the copy is gone and there is no file, or the file has changed") {
  fixture h;
  const uint32_t lost = h.begin(h.host, 1);
  const auto nowhere = h.from.choose(lost);
  REQUIRE_FALSE(nowhere.ok());
  CHECK(nowhere.failure().status == CUBBY_MISS);
  CHECK(nowhere.failure().text.find("locker 1 of bank weights") != std::string::npos);
  h.map(h.bank, h.disk);
  h.world(h.disk).file.mtime_ns = 99;
  const uint32_t changed = h.begin(h.host, 2);
  const auto refused = h.from.choose(changed);
  REQUIRE_FALSE(refused.ok());
  CHECK(refused.failure().status == CUBBY_ERR_CORRUPT);
  CHECK(h.table[changed].from == no_tier);
  CHECK(h.logged.size() == 1);
  h.land(h.bank, h.far, 3);
  CHECK(h.source_of(h.begin(h.host, 3)) == h.far);  // a copy is as good as before
}

TEST_CASE("a copy in a tier that stands aside is left there while a file has the bytes") {
  fixture h;
  h.map(h.bank, h.disk);
  for (const uint32_t number : {1u, 2u, 3u, 4u}) h.land(h.bank, h.host, number);
  h.measure(h.disk, 200'000);
  const auto &aside = h.stand_aside(h.host);
  CHECK(h.source_of(h.begin(h.device, 1)) == h.disk);
  CHECK(aside.past_count() == 1);
  // After a failure it is better than nothing, and after a pause it is probed.
  const uint32_t again = h.begin(h.device, 2);
  h.table[again].attempts = 1;
  CHECK(h.source_of(again) == h.host);
  h.state.now_ns += transfer::probe_clock::pause_min_ns;
  CHECK(h.source_of(h.begin(h.device, 3)) == h.host);
  CHECK(h.source_of(h.begin(h.device, 4)) == h.disk);
}

TEST_CASE("a copy is read from a tier that stands aside where the file has changed") {
  fixture h;
  h.map(h.bank, h.disk);
  h.land(h.bank, h.host, 1);
  REQUIRE(h.state.tiers[h.host].stand_aside.set(true, h.state.now_ns));
  h.world(h.disk).file.mtime_ns = 99;
  CHECK(h.source_of(h.begin(h.device, 1)) == h.host);
}

TEST_CASE("a copy that no file has is read from a tier that stands aside") {
  fixture h;
  h.land(h.bank, h.host, 1);
  h.measure(h.disk, 200'000);
  h.stand_aside(h.host);
  CHECK(h.source_of(h.begin(h.device, 1)) == h.host);
}

TEST_CASE("a device that finds no memory leaves nothing with those that there are") {
  uint32_t failures = 0;
  for (int64_t allowed = 0;; ++allowed) {
    cubby_test::fake_world late;
    late.capabilities = CUBBY_CAP_MEMORY;
    engine_fixture h;
    const uint32_t first = h.add_device("device", 0, mib);
    auto backend = cubby_test::open_fake(late);
    set_up::memory_tier_request wanted;
    wanted.name = "late";
    wanted.budget_bytes = mib;
    bool added = false;
    try {
      const cubby_test::allocation_failure failing(allowed);
      added = h.setup.add_memory_tier(wanted, std::move(backend)).ok();
    } catch (const std::bad_alloc &) {
    }
    late.registered.clear();
    REQUIRE(h.state.tiers[first].staging->take() != nullptr);
    REQUIRE(late.registered.empty() == !added);
    if (added) break;
    ++failures;
    REQUIRE(h.state.tiers.count() == 1);
  }
  CHECK(failures > 3);
}

TEST_CASE("a tier that stands aside for other files than the bank's is read from") {
  fixture h;
  h.map(h.bank, h.disk);
  for (const uint32_t number : {1u, 2u}) h.land(h.bank, h.host, number);
  const auto &aside = h.stand_aside(h.host);
  CHECK(h.source_of(h.begin(h.device, 1)) == h.host);  // nothing is known of the bank's files
  h.measure(h.disk, 900'000);
  CHECK(h.source_of(h.begin(h.device, 2)) == h.host);
  CHECK(aside.past_count() == 0);
  // And takes copies on the way.
  const uint32_t index = h.begin(h.device, 3);
  h.state.tiers[h.far].stand_aside.set(true, h.state.now_ns);
  CHECK(h.source_of(index) == h.disk);
  CHECK(h.table[index].intermediate == h.far);
}

TEST_CASE("where the nearest copy's tier stands aside the next copy is read") {
  fixture h;
  h.map(h.bank, h.disk);
  h.measure(h.disk, 200'000);
  const auto &aside = h.stand_aside(h.host);
  for (const uint32_t tier : {h.host, h.far}) h.land(h.bank, tier, 1);
  const uint32_t index = h.begin(h.device, 1);
  CHECK(h.source_of(index) == h.far);
  CHECK_FALSE(h.table[index].passed_copy);
  CHECK(aside.past_count() == 0);  // no file was read
}

TEST_CASE("what waits for another fill has not gone past a tier, and a copy not held is no probe") {
  fixture h;
  h.map(h.bank, h.disk);
  h.measure(h.disk, 200'000);
  const auto &aside = h.stand_aside(h.host);
  for (const uint32_t number : {1u, 2u}) h.land(h.bank, h.host, number);
  h.begin(h.far, 1);
  const auto chosen = h.from.choose(h.begin(h.device, 1));
  REQUIRE(chosen.ok());
  CHECK(*chosen == sources::choice::follows);
  CHECK(aside.past_count() == 0);
  h.state.now_ns += transfer::probe_clock::pause_min_ns;
  uint64_t frame = 0;
  while (h.bank.word(h.host, 2).pin(frame) == residency::pin_outcome::pinned) {
  }
  CHECK(h.source_of(h.begin(h.device, 2)) == h.disk);
  CHECK(aside.would_use(h.state.now_ns));
}

}  // namespace sources_test
