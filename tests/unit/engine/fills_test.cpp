// The life of a fill: its waiters and followers, what is published, what comes after a failure.
// Pieces are counted here as if something moved them.
#include "engine/fills.hpp"

#include "support/engine_fixture.hpp"
#include "support/failing_new.hpp"

namespace fills_test {

using namespace cubby;
using namespace cubby::engine;
using cubby_test::engine_fixture;

namespace {

constexpr uint64_t mib = uint64_t{1} << 20;

struct recording_waiters final : fill_waiters {
  struct end {
    uint32_t request, item;
    cubby_status status;
    bool operator==(const end &) const = default;
  };
  std::vector<end> ends;
  uint64_t frame = 0;
  void item_landed(uint32_t request, uint32_t item, locker_word &, uint64_t at,
                   const fill &) override {
    ends.push_back({request, item, CUBBY_OK});
    frame = at;
  }
  void item_failed(uint32_t request, uint32_t item, const error &why) override {
    ends.push_back({request, item, why.status});
  }
};

/// A device, a host tier and files, of lockers of two and a bit MiB: three pieces.
struct fixture : engine_fixture {
  const uint32_t device;
  const uint32_t host;
  const uint32_t disk;
  locker_bank &bank = add_bank(8, 2 * mib + 65536);
  sources from{state, table, copies, files};
  recording_waiters waiters;
  fills life{state, table, copies, stored, from, requests, waiters};

  explicit fixture(uint32_t host_flags = 0)
      : device(add_device("device", 0, 16 * mib)),
        host(add_host("host", 1, 16 * mib, host_flags)),
        disk(add_disk()) {
    map(bank, disk);
  }
  uint32_t pin(uint32_t tier, const std::vector<uint32_t> &numbers, uint32_t flags = 0) {
    const uint32_t index = make_request(pin_verb{}, tier, bank, numbers);
    requests[index].flags = flags;
    open.open(index);
    return index;
  }
  /// A fill that one pin waits for and that has been started.
  uint32_t begin(uint32_t tier, uint32_t number, uint32_t flags = 0) {
    const uint32_t index = reserve(bank, tier, number, {CUBBY_FORECAST, base::never_ns, 50});
    life.add_waiter(index, pin(tier, {number}, flags), 0);
    life.start(index);
    return index;
  }
  /// All pieces of a fill are issued, read and verified; the last has not ended.
  void read_all(uint32_t index) {
    fill &f = table[index];
    table.unqueue(index);
    f.next_part = bank.part_count();
    f.pieces_in_flight = f.reads_left;
    while (f.pieces_in_flight > 1) {
      life.piece_verified(table[index]);
      life.piece_ended(table[index]);
    }
    life.piece_verified(table[index]);
  }
  /// All pieces of a copy are issued; the last has not ended.
  void copy_all(uint32_t index) {
    fill &f = table[index];
    table.unqueue(index);
    f.next_part = bank.part_count();
    f.pieces_in_flight = 1;
  }
  /// What comes from there is dearer than the file.
  void host_stands_aside() {
    for (const auto &[tier, ns] : {std::pair(host, 600'000), std::pair(disk, 200'000)}) {
      transfer::way_cost &way = state.tiers[tier].way;
      way.started(state.now_ns);
      way.ended(mib, state.now_ns + static_cast<uint64_t>(ns), true);
    }
    REQUIRE(state.tiers[host].stand_aside.set(true, state.now_ns));
  }
  [[nodiscard]] locker_word::view word(uint32_t tier, uint32_t number) const {
    return bank.word(tier, number).look();
  }
  [[nodiscard]] uint64_t used(uint32_t tier) const {
    return state.tiers[tier].memory->used_bytes();
  }
};

error damaged() { return fail(CUBBY_ERR_CORRUPT, "damaged"); }
error nobody() { return fail(CUBBY_ERR_CANCELED, "nobody"); }

}  // namespace

TEST_CASE("a fill that starts chooses its source, counts its pieces and waits in the queue") {
  fixture h;
  const uint32_t index = h.begin(h.host, 1);
  const fill &f = h.table[index];
  CHECK(f.state == fill_state::active);
  CHECK(f.from == h.disk);
  CHECK(f.reads_left == 3);
  CHECK(chunks_per_piece(h.state.tiers, f) == 16);
  CHECK(h.state.tiers[h.disk].path->queued_count() == 1);
  h.land(h.bank, h.host, 2);
  const uint32_t copied = h.begin(h.device, 2);
  CHECK(chunks_per_piece(h.state.tiers, h.table[copied]) == 4);  // what still is in the cache
  CHECK(h.state.tiers[h.host].stats.hit_count == 1);
  CHECK(h.state.tiers[h.host].stats.miss_count == 0);
  h.begin(h.device, 3);
  CHECK(h.state.tiers[h.host].stats.miss_count == 1);
}

TEST_CASE("a locker is published when its last piece has ended, with its waiters' pins") {
  fixture h;
  const uint32_t index = h.reserve(h.bank, h.host, 1);
  const uint64_t frame = h.table[index].frame;
  const uint32_t first = h.pin(h.host, {1, 1});
  const uint32_t hint = h.make_request(prefetch_verb{}, h.host, h.bank, {1});
  h.life.add_waiter(index, first, 0);
  h.life.add_waiter(index, first, 1);
  h.life.add_waiter(index, hint, 0);
  h.life.start(index);
  h.state.now_ns = 4000;
  h.read_all(index);
  CHECK(h.table[index].read_done_ns == 4000);
  CHECK(h.word(h.host, 1).state == locker_state::filling);
  CHECK(h.waiters.ends.empty());
  h.state.changed = false;
  h.life.piece_ended(h.table[index]);
  const locker_word::view now = h.word(h.host, 1);
  CHECK(now.state == locker_state::ready);
  CHECK(now.frame == frame);
  CHECK(h.waiters.frame == frame);
  CHECK(now.pin_count == 2);  // a prefetch holds nothing
  CHECK(h.waiters.ends.size() == 3);
  CHECK(h.state.admission.is_tracked(h.host, h.bank.object_base + 1));
  CHECK(h.table.empty());
  CHECK(h.state.changed);
}

TEST_CASE("a piece that ends while others wait to be issued ends nothing") {
  fixture h;
  const uint32_t index = h.begin(h.host, 1);
  h.table[index].pieces_in_flight = 1;
  h.life.piece_verified(h.table[index]);
  h.life.piece_ended(h.table[index]);
  CHECK(h.table[index].state == fill_state::active);
  CHECK(h.table[index].reads_left == 2);
  CHECK(h.word(h.host, 1).state == locker_state::filling);
}

TEST_CASE("a waiter makes a fill urgent, wanted for good, and asked for") {
  fixture h;
  const uint32_t index = h.reserve(h.bank, h.host, 1, {CUBBY_FORECAST, 900, 1});
  h.table[index].unrequested = true;
  const uint32_t bypass = h.pin(h.host, {1}, CUBBY_BYPASS);
  h.life.add_waiter(index, bypass, 0);
  CHECK(h.table[index].order.io_class == CUBBY_DEMAND);
  CHECK_FALSE(h.table[index].unrequested);
  CHECK_FALSE(h.table[index].may_expire);
  CHECK_FALSE(h.table[index].admit);
  h.life.add_waiter(index, h.pin(h.host, {1}), 0);
  CHECK(h.table[index].admit);
  const uint32_t leaving = h.reserve(h.bank, h.host, 2);
  h.table[leaving].demotion = h.table[leaving].unrequested = true;
  h.life.add_waiter(leaving, h.pin(h.host, {2}), 0);
  CHECK(h.table[leaving].unrequested);  // a demotion goes on anyway
}

TEST_CASE("a copy for one use is not the policy's") {
  fixture h;
  const uint32_t index = h.begin(h.host, 1, CUBBY_BYPASS);
  h.read_all(index);
  h.life.piece_ended(h.table[index]);
  const cubby_object object = h.bank.object_base + 1;
  CHECK_FALSE(h.state.admission.is_tracked(h.host, object));
  CHECK(h.state.admission.books(h.host).is_no_allocate(object));
}

TEST_CASE("the last waiter that leaves stops the fill; what is in flight is waited for") {
  fixture h;
  const uint64_t before = h.used(h.host);
  const uint32_t index = h.reserve(h.bank, h.host, 1);
  const uint32_t first = h.pin(h.host, {1}), second = h.pin(h.host, {1});
  h.life.add_waiter(index, first, 0);
  h.life.add_waiter(index, second, 0);
  h.life.start(index);
  h.table[index].pieces_in_flight = 1;
  h.life.remove_waiter(index, first, 0);  // not the head of the list
  CHECK(h.table[index].state == fill_state::active);
  h.life.remove_waiter(index, second, 0);
  CHECK(h.table[index].state == fill_state::stopping);
  CHECK(h.state.tiers[h.disk].path->queued_count() == 0);
  CHECK(h.word(h.host, 1).state == locker_state::filling);  // its frame is still written to
  h.life.piece_ended(h.table[index]);
  CHECK(h.word(h.host, 1).state == locker_state::absent);
  CHECK(h.used(h.host) == before);
  CHECK(h.table.empty());
  CHECK(h.waiters.ends.empty());
}

TEST_CASE("a fill that fails gives its frame back, and each waiter hears why, once") {
  fixture h;
  const uint64_t before = h.used(h.host);
  const uint32_t index = h.begin(h.host, 1);
  const uint32_t other = h.pin(h.host, {1});
  h.life.add_waiter(index, other, 0);
  h.copies.announce(h.table[index]);
  h.life.stop(h.table[index], fail(CUBBY_ERR_IO, "the disk is gone"));
  CHECK(h.waiters.ends ==
        std::vector<recording_waiters::end>{{other, 0, CUBBY_ERR_IO}, {0, 0, CUBBY_ERR_IO}});
  CHECK(h.word(h.host, 1).state == locker_state::absent);
  CHECK_FALSE(h.state.admission.is_tracked(h.host, h.bank.object_base + 1));
  CHECK(h.used(h.host) == before);
  CHECK(h.table.empty());
}

TEST_CASE("the first reason to stop is the one that is passed on") {
  fixture h;
  const uint32_t index = h.begin(h.host, 1);
  h.table[index].pieces_in_flight = 1;
  h.life.stop(h.table[index], fail(CUBBY_ERR_IO, "first"));
  h.life.stop(h.table[index], nobody());
  h.life.piece_ended(h.table[index]);
  REQUIRE(h.waiters.ends.size() == 1);
  CHECK(h.waiters.ends[0].status == CUBBY_ERR_IO);
}

TEST_CASE("a damaged copy is dropped and read from the file instead; a third failure is the last") {
  fixture h;
  h.land(h.bank, h.host, 1);
  const uint32_t index = h.begin(h.device, 1);
  const fill &f = h.table[index];
  REQUIRE(f.from == h.host);
  CHECK(h.word(h.host, 1).pin_count == 1);
  h.life.stop(h.table[index], damaged());
  CHECK(f.state == fill_state::active);
  CHECK(f.failure.status == CUBBY_OK);
  CHECK(f.bad_tier == h.host);
  CHECK(f.from == h.disk);
  CHECK(f.intermediate == h.host);  // a right copy takes the place of the damaged one
  CHECK(h.word(h.host, 1).state == locker_state::filling);
  CHECK(h.state.tiers[h.host].stats.hit_count == 1);  // looked for once
  CHECK(h.waiters.ends.empty());
  h.life.stop(h.table[index], damaged());  // the file's
  REQUIRE(h.waiters.ends.size() == 1);
  CHECK(h.waiters.ends[0].status == CUBBY_ERR_CORRUPT);
  for (const uint32_t tier : {h.device, h.host}) {
    CHECK(h.word(tier, 1).state == locker_state::absent);
    CHECK(h.used(tier) == 0);
    CHECK_FALSE(h.state.admission.is_tracked(tier, h.bank.object_base + 1));
  }
}

TEST_CASE("a device that fails to copy is tried three times in all, and keeps its source") {
  fixture h;
  h.land(h.bank, h.host, 1);
  const uint32_t index = h.begin(h.device, 1);
  for (int again = 0; again < 2; ++again) {
    h.life.stop(h.table[index], fail(CUBBY_ERR_IO, "the link is down"));
    REQUIRE(h.waiters.ends.empty());
    CHECK(h.table[index].from == h.host);
  }
  h.life.stop(h.table[index], fail(CUBBY_ERR_IO, "the link is down"));
  CHECK(h.waiters.ends.size() == 1);
  CHECK(h.word(h.host, 1).state == locker_state::ready);
  CHECK(h.word(h.host, 1).pin_count == 0);
  CHECK(h.word(h.device, 1).state == locker_state::absent);
}

TEST_CASE("a copy that nobody wants any more is not tried again") {
  fixture h;
  h.land(h.bank, h.host, 1);
  const uint32_t index = h.reserve(h.bank, h.device, 1);
  const uint32_t only = h.pin(h.device, {1});
  h.life.add_waiter(index, only, 0);
  h.life.start(index);
  h.life.remove_waiter(index, only, 0);
  CHECK(h.table.empty());
  CHECK(h.word(h.device, 1).state == locker_state::absent);
  CHECK(h.word(h.host, 1).pin_count == 0);
}

TEST_CASE("the copy on the way is published when all was read, and held until it was copied on") {
  fixture h;
  const uint32_t index = h.begin(h.device, 1);
  REQUIRE(h.table[index].intermediate == h.host);
  const uint32_t below = h.pin(h.host, {1});
  h.life.add_waiter(index, below, 0);
  h.read_all(index);
  CHECK(h.word(h.host, 1).state == locker_state::ready);
  CHECK(h.word(h.host, 1).pin_count == 2);
  CHECK(h.waiters.ends == std::vector<recording_waiters::end>{{below, 0, CUBBY_OK}});
  CHECK(h.word(h.device, 1).state == locker_state::filling);
  h.life.piece_ended(h.table[index]);
  CHECK(h.word(h.device, 1).state == locker_state::ready);
  CHECK(h.word(h.host, 1).pin_count == 1);
  CHECK(h.waiters.ends.size() == 2);
}

TEST_CASE("a failure behind the copy on the way leaves that copy") {
  fixture h;
  const uint32_t index = h.begin(h.device, 1);
  h.read_all(index);
  h.life.stop(h.table[index], fail(CUBBY_ERR_IO, "the device is gone"));
  h.life.piece_ended(h.table[index]);
  CHECK(h.word(h.host, 1).state == locker_state::ready);
  CHECK(h.word(h.host, 1).pin_count == 0);
  CHECK(h.word(h.device, 1).state == locker_state::absent);
}

TEST_CASE("followers start when their leader ends, whichever way, and read what it brought") {
  for (const bool fails : {false, true}) {
    fixture h;
    const uint32_t leader = h.begin(h.host, 1);
    const uint32_t follower = h.begin(h.device, 1);
    REQUIRE(h.table[follower].state == fill_state::following);
    CHECK(h.table[leader].order.io_class == CUBBY_DEMAND);
    if (fails) {
      h.life.stop(h.table[leader], fail(CUBBY_ERR_IO, "the disk is gone"));
    } else {
      h.read_all(leader);
      h.life.piece_ended(h.table[leader]);
    }
    CHECK(h.table[follower].state == fill_state::active);
    CHECK(h.table[follower].leader == no_index);
    CHECK(h.table[follower].from == (fails ? h.disk : h.host));
    CHECK(h.word(h.host, 1).pin_count == (fails ? 0 : 2));
  }
}

TEST_CASE("a leader goes on for its followers alone, and stops with the last") {
  fixture h;
  const uint32_t leader = h.reserve(h.bank, h.host, 1);
  const uint32_t below = h.pin(h.host, {1});
  h.life.add_waiter(leader, below, 0);
  h.life.start(leader);
  const uint32_t follower = h.reserve(h.bank, h.device, 1);
  const uint32_t above = h.pin(h.device, {1});
  h.life.add_waiter(follower, above, 0);
  h.life.start(follower);
  h.life.remove_waiter(leader, below, 0);
  CHECK(h.table[leader].state == fill_state::active);
  h.life.remove_waiter(follower, above, 0);
  CHECK(h.word(h.device, 1).state == locker_state::absent);
}

TEST_CASE("a demotion gives the frame above back, and what fails of it takes the copy with it") {
  for (const bool fails : {false, true}) {
    fixture h(CUBBY_TIER_EXCLUSIVE);
    h.land(h.bank, h.device, 1);
    const uint64_t frame_bytes = h.used(h.device);
    REQUIRE(h.copies.evict_one(h.device, {}, {CUBBY_DEMAND, base::never_ns, 1}, true));
    CHECK(h.state.tiers[h.device].leaving_bytes == frame_bytes);
    CHECK(h.word(h.device, 1).state == locker_state::evicting);
    const auto index = static_cast<uint32_t>(h.word(h.host, 1).frame);
    h.copy_all(index);
    if (fails) h.life.stop(h.table[index], damaged());
    h.life.piece_ended(h.table[index]);
    CHECK(h.word(h.device, 1).state == locker_state::absent);
    CHECK(h.used(h.device) == 0);
    CHECK(h.state.tiers[h.device].leaving_bytes == 0);
    CHECK(h.word(h.host, 1).state == (fails ? locker_state::absent : locker_state::ready));
    CHECK((h.used(h.host) == 0) == fails);
  }
}

TEST_CASE("what moves up out of an exclusive tier leaves it") {
  fixture h(CUBBY_TIER_EXCLUSIVE);
  h.land(h.bank, h.host, 1);
  const uint32_t index = h.begin(h.device, 1);
  h.copy_all(index);
  h.life.piece_ended(h.table[index]);
  CHECK(h.word(h.device, 1).state == locker_state::ready);
  CHECK(h.word(h.host, 1).state == locker_state::absent);
  CHECK(h.used(h.host) == 0);
}

TEST_CASE("a fill with no source fails at once") {
  fixture h;
  h.world(h.disk).file.mtime_ns = 1;
  h.begin(h.host, 1);
  REQUIRE(h.waiters.ends.size() == 1);
  CHECK(h.waiters.ends[0].status == CUBBY_ERR_CORRUPT);
  CHECK(h.word(h.host, 1).state == locker_state::absent);
}

TEST_CASE("a start that finds no memory fails the fill, and leaves no copy on the way") {
  uint32_t failures = 0;
  for (int64_t allowed = 0;; ++allowed) {
    fixture h;
    const uint32_t index = h.reserve(h.bank, h.device, 1);
    h.life.add_waiter(index, h.pin(h.device, {1}), 0);
    h.waiters.ends.reserve(1);
    bool happened = false;
    {
      const cubby_test::allocation_failure failing(allowed);
      h.life.start(index);
      happened = failing.happened();
    }
    if (!happened) {
      CHECK(h.table[index].intermediate == h.host);
      break;
    }
    ++failures;
    REQUIRE(h.waiters.ends.size() == 1);
    REQUIRE(h.waiters.ends[0].status == CUBBY_ERR_NO_MEMORY);
    REQUIRE(h.table.empty());
    for (const uint32_t tier : {h.device, h.host}) {
      REQUIRE(h.word(tier, 1).state == locker_state::absent);
      REQUIRE(h.used(tier) == 0);
      REQUIRE_FALSE(h.state.admission.is_tracked(tier, h.bank.object_base + 1));
    }
  }
  CHECK(failures != 0);
}

TEST_CASE("waiters beyond what a word can count fail as BUSY, and the others are pinned") {
  CHECK(pinned_too_often(fixture().bank, 3).status == CUBBY_ERR_BUSY);
  fixture h;
  const uint32_t index = h.reserve(h.bank, h.host, 1);
  const uint32_t many = h.pin(h.host, {1});
  h.requests[many].items.resize(locker_word::pins_max + 2, h.requests[many].items[0]);
  for (uint32_t i = 0; i < h.requests[many].items.size(); ++i) h.life.add_waiter(index, many, i);
  h.life.start(index);
  h.read_all(index);
  h.life.piece_ended(h.table[index]);
  CHECK(h.word(h.host, 1).pin_count == locker_word::pins_max - 1);
  REQUIRE(h.waiters.ends.size() == locker_word::pins_max + 2);
  uint32_t busy = 0;
  for (const auto &end : h.waiters.ends) busy += end.status == CUBBY_ERR_BUSY ? 1 : 0;
  CHECK(busy == 3);
}

TEST_CASE("a copy that was gone past, for its tier stands aside, is used once the file fails") {
  for (const bool changed : {false, true}) {
    fixture h;
    const uint32_t far = h.add_host("far", 2, 16 * mib);
    h.land(h.bank, h.host, 1);
    h.host_stands_aside();
    if (changed) h.world(h.disk).file.mtime_ns = 99;
    const uint32_t index = h.begin(h.device, 1);
    if (!changed) {
      REQUIRE(h.table[index].from == h.disk);
      REQUIRE(h.table[index].intermediate == far);
      h.life.stop(h.table[index], fail(CUBBY_ERR_IO, "failed"));
    }
    REQUIRE(h.table[index].state == fill_state::active);
    REQUIRE(h.table[index].from == h.host);
    CHECK(h.table[index].intermediate == no_tier);
    CHECK(h.word(far, 1).state == locker_state::absent);
    CHECK(h.used(far) == 0);
    CHECK(h.word(h.host, 1).pin_count == 1);
    CHECK(h.waiters.ends.empty());
    h.copy_all(index);
    h.life.piece_ended(h.table[index]);
    REQUIRE(h.waiters.ends.size() == 1);
    CHECK(h.waiters.ends[0].status == CUBBY_OK);
    CHECK(h.word(h.device, 1).state == locker_state::ready);
    CHECK(h.word(h.host, 1).pin_count == 0);
  }
}

TEST_CASE("a copy that was gone past is used once, and its own failure ends the fill") {
  fixture h;
  h.land(h.bank, h.host, 1);
  h.host_stands_aside();
  const uint32_t index = h.begin(h.device, 1);
  for (uint32_t tries = 0; tries < 4 && h.waiters.ends.empty(); ++tries) {
    h.life.stop(h.table[index], fail(CUBBY_ERR_IO, "failed"));
  }
  REQUIRE(h.waiters.ends.size() == 1);
  CHECK(h.waiters.ends[0].status == CUBBY_ERR_IO);
  CHECK(h.word(h.host, 1).pin_count == 0);
  CHECK(h.table.empty());
}

TEST_CASE("only what a tier between could have held measures the way past it") {
  fixture h;
  const transfer::way_cost &way = h.state.tiers[h.disk].way;
  for (const uint32_t to : {h.host, h.device}) {
    CHECK(way.seen_count() == 0);
    const uint32_t index = h.begin(to, 1 + to);
    h.read_all(index);
    h.state.now_ns += 1'000'000;
    h.life.piece_ended(h.table[index]);
  }
  CHECK(way.seen_count() == 1);
}

TEST_CASE("a tier is weighed by the quickest files alone, whatever bank was read") {
  fixture h;
  auto added = h.setup.add_file_tier("slow", 9, {}, open_fake(h.worlds.emplace_back()), {});
  REQUIRE(added.ok());
  const uint32_t slow_disk = *added;
  locker_bank &other = h.add_bank(8, mib);
  h.land(h.bank, h.host, 1);
  h.land(other, h.host, 1);
  h.map(other, slow_disk);
  const auto move = [&](uint32_t from, uint64_t ns) {
    h.state.tiers[from].way.started(h.state.now_ns);
    h.state.tiers[from].way.ended(mib, h.state.now_ns += ns, true);
  };
  move(h.disk, 200'000);
  move(slow_disk, 20'000'000);
  move(h.host, 4'000'000);
  const transfer::stand_aside &aside = h.state.tiers[h.host].stand_aside;
  for (uint32_t i = 0; i < 4 * transfer::stand_aside::measured_min; ++i) {
    locker_bank &bank = i % 2 == 0 ? h.bank : other;
    const uint32_t index = h.reserve(bank, h.device, 1);
    h.table[index].unrequested = true;
    h.life.start(index);
    if (h.table[index].from != h.host) break;  // it stands aside
    h.table.unqueue(index);
    h.table[index].next_part = bank.part_count();
    h.table[index].pieces_in_flight = 1;
    h.state.now_ns += 10'000'000;
    h.life.piece_ended(h.table[index]);
    REQUIRE(h.copies.drop(bank, 1, h.device));
  }
  CHECK(aside.aside());
  CHECK(aside.begun_count() == 1);
}

}  // namespace fills_test
