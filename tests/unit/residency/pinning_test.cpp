// The protocol of pins without a controller: what is pinned, what is released, and which flags say
// so.
#include "residency/pinning.hpp"

#include <thread>

#include "support/catch.hpp"

namespace pinning_test {

using namespace cubby;
using namespace cubby::residency;

namespace {

cubby_item item_of(cubby_bank bank, uint64_t number) {
  cubby_item item{};
  item.id = CUBBY_ID(bank, number);
  return item;
}

/// A bank of two rows of four lockers in tiers 0 and 1; all but the last are resident in tier 0.
struct fixture {
  bank_registry banks{3};
  pinning pins{banks, 256, 3};
  locker_bank *bank = nullptr;
  std::vector<cubby_item> items;

  explicit fixture(uint32_t columns = 4) {
    cubby_bank_desc desc{};
    desc.rows = 2;
    desc.columns = columns;
    desc.locker_bytes = 64;
    auto made = locker_bank::describe(desc);
    REQUIRE(made.ok());
    auto added = banks.insert(std::move(*made));
    REQUIRE(added.ok());
    bank = *added;
    for (const uint32_t tier : {0u, 1u}) bank->add_tier(tier, catalog::frame_layout::packed, {});
    banks.index_words();
    banks.publish(*bank);
    for (uint32_t number = 0; number < bank->count(); ++number) {
      items.push_back(item_of(bank->handle, number));
      if (number + 1 != bank->count()) land(number);
    }
  }
  void land(uint32_t number) const {
    bank->word(0, number).begin_fill(1, 1);
    bank->word(0, number).publish(1, 0);
  }
  [[nodiscard]] pin_order order(uint32_t first, uint32_t count, uint32_t flags = 0) const {
    return {items.data() + first, count, 0, 0, flags, nullptr};
  }
  [[nodiscard]] pinning::start start(pin_set &set, const pin_order &order) const {
    return pins.pin_first_row(set, order.items, order.count, order.tier, order.flags, order.addr);
  }
  /// A set, and the part of the pin that one row serves.
  pin_set &begin(const pin_order &order, pinning::start &begun) {
    pin_set *const set = pins.take(order.shard);
    REQUIRE(set != nullptr);
    if (order.count > set->room) pins.make_room(*set, order);
    begun = start(*set, order);
    return *set;
  }
  cubby_pins pin(const pin_order &order) {
    pinning::start begun;
    pin_set &set = begin(order, begun);
    if (begun.pinned == order.count) return pins.hold_all(set, order.count);
    const pinning::rest rest = pins.pin_rest(set, order, begun);
    REQUIRE(rest.pinned != 0);
    return pins.hold(set, order, rest.pinned);
  }
  [[nodiscard]] uint64_t pin_count() const {
    uint64_t count = 0;
    for (uint32_t n = 0; n < bank->count(); ++n) count += bank->word(0, n).look().pin_count;
    return count;
  }
};

}  // namespace

TEST_CASE("lockers of one row are pinned at once, those of two rows by the rest") {
  fixture some;
  pinning::start begun;
  const pin_order order = some.order(2, 5);
  pin_set &set = some.begin(order, begun);
  CHECK(begun.pinned == 2);
  const pinning::rest rest = some.pins.pin_rest(set, order, begun);
  CHECK(rest.what == pinning::found::resident);
  CHECK(rest.pinned == 5);
  const cubby_pins held = some.pins.hold(set, order, rest.pinned);
  CHECK(some.pin_count() == 5);
  bool wake = true;
  CHECK(some.pins.unpin_whole(held, 0, 0, 0, wake));
  CHECK_FALSE(wake);
  CHECK(some.pin_count() == 0);
  CHECK(some.pins.unpin(held, 0, 0, 0).what == pin_sets::outcome::stale);
}

TEST_CASE("with something absent nothing stays pinned, and a controller that waits is notified") {
  fixture some;
  const bool wanted = GENERATE(false, true);
  some.pins.watch(0).frames_wanted = wanted;
  pinning::start begun;
  const pin_order order = some.order(0, 8);
  pin_set &set = some.begin(order, begun);
  const pinning::rest rest = some.pins.pin_rest(set, order, begun);
  CHECK(rest.what == pinning::found::absent);
  CHECK(rest.pinned == 0);
  CHECK(rest.wake == wanted);
  CHECK(some.pins.take_frames_note() == wanted);
  CHECK(some.pin_count() == 0);
  // The controller fills the set then.
  const cubby_pins held = some.pins.hold_loading(set, order);
  CHECK(some.pins.unpin(held, 0, 1, 0).wake);
  CHECK(some.pins.take_withdrawal_note());
  CHECK(some.pins.sets().withdrawn(set.index, 0));
}

TEST_CASE("with NO_WAIT what is resident stays pinned, with gaps") {
  fixture some;
  const pin_order order = some.order(4, 4, CUBBY_NO_WAIT);
  const cubby_pins held = some.pin(order);
  CHECK(some.pin_count() == 3);
  bool wake = false;
  CHECK_FALSE(some.pins.unpin_whole(held, 0, 0, 0, wake));
  CHECK(some.pins.unpin(held, 0, 0, 0).what == pin_sets::outcome::released);
  CHECK(some.pin_count() == 0);
}

TEST_CASE("an item that names nothing refuses the pin and releases the others") {
  fixture some;
  some.items[5].id = CUBBY_ID(some.bank->handle + 1, 5);
  pinning::start begun;
  const pin_order order = some.order(4, 3, GENERATE(0u, uint32_t{CUBBY_NO_WAIT}));
  pin_set &set = some.begin(order, begun);
  CHECK(some.pins.pin_rest(set, order, begun).what == pinning::found::refused);
  CHECK(some.pin_count() == 0);
}

TEST_CASE("a release is noted where its tier waits for it, or the set was for one use") {
  fixture some;
  const bool bypass = GENERATE(false, true);
  const bool at_once = GENERATE(false, true);
  const cubby_pins held = some.pin(some.order(0, 2, bypass ? uint32_t{CUBBY_BYPASS} : 0));
  bool noted = bypass;
  bool awaited = false;
  SECTION("nobody waits") {}
  SECTION("in another tier") { some.pins.watch(1).frames_wanted = true; }
  SECTION("for frames") { noted = awaited = some.pins.watch(0).frames_wanted = true; }
  SECTION("for a locker to leave") { noted = awaited = some.pins.watch(0).decisions_wanted = true; }
  bool wake = false;
  if (at_once) {
    CHECK(some.pins.unpin_whole(held, 0, 2, 0, wake));
  } else {
    wake = some.pins.unpin(held, 0, 2, 0).wake;
  }
  CHECK(wake == awaited);  // a copy for one use goes with the next advance
  CHECK(some.pins.has_news() == noted);
}

TEST_CASE("pinned lockers are named once, by sets of the tier or by the controller") {
  fixture some;
  CHECK_FALSE(some.pins.any_pinned(0));
  const cubby_pins first = some.pin(some.order(0, 3));
  const cubby_pins second = some.pin(some.order(1, 3));
  CHECK(some.pins.any_pinned(0));
  CHECK_FALSE(some.pins.any_pinned(1));
  CHECK(some.pins.pinned(0, {}).size() == 4);
  CHECK(some.pins.pinned(1, {}).empty());
  uint64_t frame = 0;
  locker_word &source = some.bank->word(0, 5);
  REQUIRE(source.pin(frame) == pin_outcome::pinned);
  const auto lockers = some.pins.pinned(0, {&source, &some.bank->word(0, 1)});
  CHECK(lockers.size() == 5);
  source.unpin();
  CHECK(some.pins.unpin(first, 0, 1, 0).what == pin_sets::outcome::released);
  CHECK(some.pins.pinned(0, {&source}).size() == 3);
  CHECK(some.pins.unpin(first, 0, 0, 0).what == pin_sets::outcome::released);
  CHECK(some.pins.unpin(second, 0, 0, 0).what == pin_sets::outcome::released);
  CHECK_FALSE(some.pins.any_pinned(0));
}

TEST_CASE("sets are looked at while others take, grow and release them") {
  fixture some(64);
  some.land(127);
  std::atomic<uint32_t> running{2};
  const auto work = [&](uint32_t shard) {
    for (uint32_t round = 0; round < 2000; ++round) {
      const uint32_t count = 1 + (round * 37 + shard) % 120;
      pin_order order = some.order(0, count);
      order.shard = shard;
      pin_set *const set = some.pins.take(shard);
      if (set == nullptr) break;
      if (count > set->room) some.pins.make_room(*set, order);
      const pinning::start begun = some.start(*set, order);
      const pinning::rest rest = some.pins.pin_rest(*set, order, begun);
      const cubby_pins held = some.pins.hold(*set, order, rest.pinned);
      if (count > 40) some.pins.unpin(held, 0, 1, shard);
      bool wake = false;
      if (!some.pins.unpin_whole(held, 0, 0, shard, wake)) some.pins.unpin(held, 0, 0, shard);
    }
    --running;
  };
  const cubby_pins mine = some.pin(some.order(100, 2));
  std::thread first(work, 1);
  std::thread second(work, 2);
  uint64_t least = ~uint64_t{0};
  bool always = true;
  while (running != 0) {
    always = always && some.pins.any_pinned(0);
    least = std::min<uint64_t>(least, some.pins.pinned(0, {}).size());
  }
  first.join();
  second.join();
  CHECK(always);
  CHECK(least >= 2);
  CHECK(some.pin_count() == 2);
  CHECK(some.pins.pinned(0, {}).size() == 2);
  CHECK(some.pins.unpin(mine, 0, 0, 0).what == pin_sets::outcome::released);
}

}  // namespace pinning_test
