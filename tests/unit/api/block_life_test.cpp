// KV blocks: leases, pins and prefetches by key, frames written in place, load or recompute.
#include <thread>

#include "unit/api/block_fixture.hpp"

namespace block_life_test {

using namespace api_test;

namespace {

std::vector<cubby_key> keys_of(const std::vector<std::string> &names) {
  std::vector<cubby_key> keys;
  for (const std::string &name : names) keys.push_back(as_key(name));
  return keys;
}
std::vector<std::string> names_to(uint32_t count) {
  std::vector<std::string> names;
  for (const uint32_t number : numbers_to(count)) names.push_back(key_of(number));
  return names;
}

cubby_item named(const block_fixture &f, const std::string &name) {
  cubby_item item{};
  item.space = f.space;
  item.key = as_key(name);
  return item;
}

}  // namespace

TEST_CASE("leased blocks stay where they are until the lease is over") {
  block_fixture f(0, 64, 0, {{}, 0, mib}, block_bytes, "lru");  // room for 16
  put_chain(f, 4, CUBBY_KEEP_CACHE);
  const auto names = names_to(4);
  const auto keys = keys_of(names);
  cubby_pins lease = 0;
  REQUIRE(cubby_lease(f.h.rt, f.space, keys.data(), 4, 0, &lease) == CUBBY_OK);
  for (uint32_t i = 100; i < 140; ++i) REQUIRE(put(f, i, content_of(i)) == CUBBY_OK);
  CHECK(match(f, numbers_to(4)) == 4);
  const cubby_item fourth = named(f, names[3]);
  CHECK(cubby_drop(f.h.rt, &fourth, 1, 0) == CUBBY_ERR_BUSY);
  REQUIRE(cubby_lease_end(f.h.rt, lease, 2, 2) == CUBBY_OK);
  CHECK(cubby_drop(f.h.rt, &fourth, 1, 0) == CUBBY_OK);
  for (uint32_t i = 200; i < 240; ++i) REQUIRE(put(f, i, content_of(i)) == CUBBY_OK);
  CHECK(match(f, numbers_to(4)) == 2);
  CHECK(cubby_lease_end(f.h.rt, lease, 2, 1) == CUBBY_ERR_STALE);  // released before
  REQUIRE(cubby_lease_end(f.h.rt, lease, 0, 0) == CUBBY_OK);
  CHECK(cubby_lease_end(f.h.rt, lease, 0, 0) == CUBBY_ERR_STALE);
  CHECK(cubby_lease_end(f.h.rt, 0, 0, 0) == CUBBY_ERR_STALE);
  for (uint32_t i = 300; i < 340; ++i) REQUIRE(put(f, i, content_of(i)) == CUBBY_OK);
  CHECK(match(f, numbers_to(4)) == 0);
  CHECK(cubby_lease(f.h.rt, f.space, keys.data(), 4, 0, &lease) == CUBBY_MISS);
  CHECK(lease == 0);
}

TEST_CASE("a lease ends by itself after its time") {
  block_fixture f(GENERATE(0u, 1u), 64, 0, {{}, 0, mib});
  put_chain(f, 16, CUBBY_KEEP_CACHE);
  const auto names = names_to(16);
  const auto keys = keys_of(names);
  cubby_pins lease = 0;
  REQUIRE(cubby_lease(f.h.rt, f.space, keys.data(), 16, 50, &lease) == CUBBY_OK);
  CHECK(put(f, 100, content_of(100)) == CUBBY_ERR_BUSY);
  std::this_thread::sleep_for(std::chrono::milliseconds(60));
  CHECK(put(f, 100, content_of(100)) == CUBBY_OK);
  CHECK(cubby_lease_end(f.h.rt, lease, 0, 0) == CUBBY_ERR_STALE);
}

TEST_CASE("leased blocks do not leave a store that is full") {
  const store_directory there;
  block_fixture f(0, 1024, 0, {there.path, 16 * mib, mib});
  put_chain(f, 8, CUBBY_KEEP_RESTART);
  const auto names = names_to(8);
  const auto keys = keys_of(names);
  cubby_pins lease = 0;
  REQUIRE(cubby_lease(f.h.rt, f.space, keys.data(), 8, 0, &lease) == CUBBY_OK);
  for (uint32_t i = 100; i < 500; ++i) {
    REQUIRE(put(f, i, content_of(i), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  CHECK(match(f, numbers_to(8)) == 8);
  for (const uint32_t number : numbers_to(8)) check_bytes(f, number);
}

TEST_CASE("blocks are pinned by key, from memory and from disk") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  const uint32_t pump = GENERATE(0u, 1u);
  {
    block_fixture f(pump, 64, 3, tiers);
    put_chain(f, 4, CUBBY_KEEP_RESTART);
  }
  block_fixture f(pump, 64, 3, tiers);
  check_bytes(f, 2);
  const auto names = names_to(4);
  std::vector<cubby_item> items;
  for (const std::string &name : names) items.push_back(named(f, name));
  std::vector<const void *> addr(12, nullptr);
  std::vector<int8_t> status(4, 99);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.item_status = status.data();
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  REQUIRE(cubby_pin(f.h.rt, items.data(), 4, f.host, &how, &pins, addr.data(), &ticket) ==
          CUBBY_PENDING);
  REQUIRE(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
  CHECK(status == std::vector<int8_t>(4, CUBBY_OK));
  const uint64_t parts[] = {40 << 10, 20 << 10, 4 << 10};
  for (uint32_t i = 0; i < 4; ++i) {
    const std::string content = content_of(i + 1);
    uint64_t at = 0;
    for (uint32_t p = 0; p < 3; ++p) {
      REQUIRE(addr[i * 3 + p] != nullptr);
      CHECK(std::memcmp(addr[i * 3 + p], content.data() + at, parts[p]) == 0);
      at += parts[p];
    }
  }
  CHECK(cubby_drop(f.h.rt, items.data(), 1, 0) == CUBBY_ERR_BUSY);
  REQUIRE(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  // Now all is in memory.
  CHECK(cubby_pin(f.h.rt, items.data(), 4, f.host, &how, &pins, addr.data(), &ticket) == CUBBY_OK);
  REQUIRE(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  const std::string missing = key_of(77);
  items[2] = named(f, missing);
  CHECK(cubby_pin(f.h.rt, items.data(), 4, f.host, &how, &pins, addr.data(), &ticket) ==
        CUBBY_MISS);
  CHECK(pins == 0);
}

TEST_CASE("blocks are fetched ahead by key, and their coming is estimated") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  {
    block_fixture f(0, 64, 0, tiers);
    put_chain(f, 4, CUBBY_KEEP_RESTART);
  }
  block_fixture f(0, 64, 0, tiers);
  check_bytes(f, 1);
  const auto names = names_to(5);
  std::vector<cubby_item> items;
  for (const std::string &name : names) items.push_back(named(f, name));
  std::vector<uint64_t> ready(5, 1);
  REQUIRE(cubby_estimate(f.h.rt, items.data(), 5, f.host, ready.data()) == CUBBY_OK);
  CHECK(ready[0] == 0);
  CHECK(ready[1] > 0);
  CHECK(ready[1] < 1'000'000'000);
  CHECK(ready[4] == ~uint64_t{0});
  cubby_ticket ticket = 0;
  std::vector<int8_t> status(5, 99);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.item_status = status.data();
  REQUIRE(cubby_prefetch(f.h.rt, items.data(), 5, f.host, &how, &ticket) == CUBBY_PENDING);
  CHECK(cubby_wait(f.h.rt, ticket, -1) == CUBBY_PARTIAL);
  CHECK(status == std::vector<int8_t>{0, 0, 0, 0, CUBBY_MISS});
  std::vector<uint8_t> states;
  CHECK(match(f, numbers_to(4), &states) == 4);
  CHECK(states == std::vector<uint8_t>(4, CUBBY_STATE_HOST));
}

TEST_CASE("frames are written in place, and found once they are committed") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  const uint32_t parts = GENERATE(0u, 3u);
  {
    block_fixture f(0, 64, parts, tiers);
    REQUIRE(put(f, 3, content_of(3), key_of(2)) == CUBBY_OK);
    const auto names = names_to(4);
    const auto keys = keys_of(names);
    std::vector<cubby_item> items;
    for (uint32_t i = 0; i < 4; ++i) {
      items.push_back(named(f, names[i]));
      if (i != 0) items[i].parent = &keys[i - 1];
    }
    const uint32_t part_count = std::max(parts, 1u);
    std::vector<void *> addr(4 * part_count, nullptr);
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    REQUIRE(cubby_reserve(f.h.rt, items.data(), 4, f.host, nullptr, &pins, addr.data(), &ticket) ==
            CUBBY_OK);
    CHECK(addr[2 * part_count] == nullptr);  // known
    CHECK(match(f, numbers_to(4)) == 0);
    const uint64_t sizes[] = {40 << 10, 20 << 10, 4 << 10};
    for (const uint32_t i : {0u, 1u, 3u}) {
      const std::string content = content_of(i + 1);
      uint64_t at = 0;
      for (uint32_t p = 0; p < part_count; ++p) {
        const uint64_t bytes = parts == 0 ? block_bytes : sizes[p];
        std::memcpy(addr[i * part_count + p], content.data() + at, bytes);
        at += bytes;
      }
    }
    cubby_how how{};
    how.struct_size = sizeof how;
    how.keep = CUBBY_KEEP_RESTART;
    REQUIRE(cubby_commit(f.h.rt, pins, 0, 2, 1, &how, nullptr) == CUBBY_OK);
    CHECK(match(f, numbers_to(4)) == 3);
    CHECK(cubby_commit(f.h.rt, pins, 1, 1, 1, &how, nullptr) == CUBBY_ERR_INVALID);
    CHECK(cubby_commit(f.h.rt, pins, 2, 3, 1, &how, nullptr) == CUBBY_ERR_INVALID);
    REQUIRE(cubby_commit(f.h.rt, pins, 0, 0, 0, nullptr, nullptr) == CUBBY_OK);  // the rest: no
    CHECK(cubby_commit(f.h.rt, pins, 0, 0, 1, nullptr, nullptr) == CUBBY_ERR_STALE);
    CHECK(match(f, numbers_to(4)) == 3);
    for (const uint32_t number : numbers_to(3)) check_bytes(f, number);
    std::string bytes(block_bytes, 'x');
    CHECK(get(f, 4, bytes) == CUBBY_MISS);
  }
  block_fixture f(0, 64, parts, tiers);
  CHECK(match(f, numbers_to(4)) == 2);  // 3 was put for the session
  for (const uint32_t number : numbers_to(2)) check_bytes(f, number);
}

TEST_CASE("a reservation is granted whole or not at all, and its bank stays") {
  block_fixture f(0, 64, 0, {{}, 0, mib});
  const auto names = names_to(20);
  std::vector<cubby_item> items;
  for (const std::string &name : names) items.push_back(named(f, name));
  std::vector<void *> addr(20, nullptr);
  cubby_pins pins = 0;
  CHECK(cubby_reserve(f.h.rt, items.data(), 20, f.host, nullptr, &pins, addr.data(), nullptr) ==
        CUBBY_ERR_BUDGET);  // 17 blocks are never there together
  cubby_error why{};
  cubby_explain(&why, nullptr, 0);
  CHECK(why.needed_bytes == 17 * block_bytes);
  CHECK(pins == 0);
  CHECK(f.h.stats(f.host).used_bytes == 0);
  REQUIRE(cubby_reserve(f.h.rt, items.data(), 16, f.host, nullptr, &pins, addr.data(), nullptr) ==
          CUBBY_OK);
  CHECK(put(f, 100, content_of(100)) == CUBBY_ERR_BUSY);
  CHECK(cubby_space_remove(f.h.rt, f.space) == CUBBY_OK);
  CHECK(cubby_bank_remove(f.h.rt, f.bank) == CUBBY_ERR_BUSY);
  CHECK(explain().find("reserved") != std::string::npos);
  CHECK(explain().find("cubby_commit") != std::string::npos);
  CHECK(cubby_commit(f.h.rt, pins, 0, 0, 1, nullptr, nullptr) == CUBBY_OK);
  CHECK(cubby_bank_remove(f.h.rt, f.bank) == CUBBY_OK);
}

TEST_CASE("a reservation that makes no sense, or never can be, is refused as such") {
  block_fixture f(0, 4, 0, {{}, 0, mib});
  const auto names = names_to(5);
  std::vector<cubby_item> items;
  for (const std::string &name : names) items.push_back(named(f, name));
  std::vector<void *> addr(5, nullptr);
  cubby_pins pins = 0;
  const auto reserve = [&](uint32_t count) {
    return cubby_reserve(f.h.rt, items.data(), count, f.host, nullptr, &pins, addr.data(), nullptr);
  };
  CHECK(reserve(5) == CUBBY_ERR_BUDGET);  // the bank has 4
  items[3] = items[1];
  CHECK(reserve(4) == CUBBY_ERR_INVALID);
  CHECK(explain().find("item 3 has the key of item 1") != std::string::npos);
  cubby_span around[] = {{0, 0, 0, ~uint64_t{0}}, {0, 0, 0, 2}};
  items[0].spans = around;
  items[0].span_count = 2;
  CHECK(reserve(1) == CUBBY_ERR_INVALID);
  items[0].span_count = 0;
  items[0].at_bytes = 64;
  CHECK(reserve(1) == CUBBY_ERR_INVALID);
  CHECK(pins == 0);
  CHECK(f.h.stats(f.host).used_bytes == 0);
}

TEST_CASE("leases whose time is over hold nothing up, though the runtime rests") {
  block_fixture f(GENERATE(0u, 1u), 64, 0, {{}, 0, mib});
  put_chain(f, 16, CUBBY_KEEP_CACHE);
  const auto names = names_to(16);
  const auto keys = keys_of(names);
  const cubby_item first = named(f, names[0]);
  const std::string other = key_of(100);
  const cubby_item wanted = named(f, other);
  cubby_pins lease = 0, pins = 0;
  void *addr = nullptr;
  const auto reserve = [&] {
    return cubby_reserve(f.h.rt, &wanted, 1, f.host, nullptr, &pins, &addr, nullptr);
  };
  REQUIRE(cubby_lease(f.h.rt, f.space, keys.data(), 16, 20, &lease) == CUBBY_OK);
  std::this_thread::sleep_for(std::chrono::milliseconds(40));
  CHECK(cubby_drop(f.h.rt, &first, 1, 0) == CUBBY_OK);
  REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_CACHE) == CUBBY_OK);
  REQUIRE(cubby_lease(f.h.rt, f.space, keys.data(), 16, 20, &lease) == CUBBY_OK);
  std::this_thread::sleep_for(std::chrono::milliseconds(40));
  REQUIRE(reserve() == CUBBY_OK);
  CHECK(cubby_commit(f.h.rt, pins, 0, 0, 0, nullptr, nullptr) == CUBBY_OK);
}

TEST_CASE("what is larger than its tier never comes there, and is not to be waited for") {
  const store_directory there;
  block_fixture f(0, 64, 0, {there.path, 32 * mib, mib});
  REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_tier_resize(f.h.rt, f.host, block_bytes / 2, &ticket) >= 0);
  if (ticket != 0) REQUIRE(cubby_wait(f.h.rt, ticket, -1) == CUBBY_OK);
  const std::string name = key_of(1);
  const cubby_item one = named(f, name);
  uint64_t ready_ns = 0;
  REQUIRE(cubby_estimate(f.h.rt, &one, 1, f.host, &ready_ns) == CUBBY_OK);
  CHECK(ready_ns == ~uint64_t{0});
  std::string bytes(block_bytes, 'x');
  CHECK(get(f, 1, bytes) == CUBBY_ERR_BUDGET);
  CHECK(explain().find("takes 65536 bytes at once, and the budget is 32768") != std::string::npos);
}

TEST_CASE("a reserved block may be shorter, and what is behind it is zero") {
  block_fixture f(0, 4, 0, {{}, 0, mib});
  REQUIRE(put(f, 9, content_of(9)) == CUBBY_OK);
  const std::string nine = key_of(9), name = key_of(1);
  const cubby_item old = named(f, nine);
  REQUIRE(cubby_drop(f.h.rt, &old, 1, 0) == CUBBY_OK);
  cubby_item item = named(f, name);
  cubby_span span{0, 0, 0, 1000};
  item.spans = &span;
  item.span_count = 1;
  void *addr = nullptr;
  cubby_pins pins = 0;
  REQUIRE(cubby_reserve(f.h.rt, &item, 1, f.host, nullptr, &pins, &addr, nullptr) == CUBBY_OK);
  std::memset(addr, 'a', 1000);
  REQUIRE(cubby_commit(f.h.rt, pins, 0, 0, 1, nullptr, nullptr) == CUBBY_OK);
  std::string bytes(1000, 'x'), longer(1001, 'x');
  CHECK(get(f, 1, bytes) == CUBBY_OK);
  CHECK(bytes == std::string(1000, 'a'));
  CHECK(get(f, 1, longer) == CUBBY_ERR_INVALID);
  CHECK(static_cast<const char *>(addr)[1000] == 0);
  CHECK(static_cast<const char *>(addr)[block_bytes - 1] == 0);
}

TEST_CASE("a tier without room for one block is not advised to be loaded into") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  block_fixture f(0, 64, 0, tiers);
  put_chain(f, 8, CUBBY_KEEP_RESTART);
  const cubby_tier small = f.h.tier("small", 1, block_bytes / 2);
  const auto names = names_to(10);
  const auto keys = keys_of(names);
  const std::vector<uint64_t> recompute(10, 1'000'000'000);
  cubby_split_result made{};
  made.struct_size = sizeof made;
  REQUIRE(cubby_split(f.h.rt, f.space, keys.data(), 10, recompute.data(), small, &made) ==
          CUBBY_OK);
  CHECK(made.load_count == 0);
  CHECK(made.load_first == 0);
  CHECK(made.recompute_all_ns == 10'000'000'000);
  CHECK(made.finish_ns == made.recompute_all_ns);
  CHECK(made.load_all_ns == UINT64_MAX);
  REQUIRE(cubby_split(f.h.rt, f.space, keys.data(), 10, recompute.data(), f.host, &made) ==
          CUBBY_OK);
  CHECK(made.load_count == 8);
}

TEST_CASE("load or recompute: what is ready first") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  {
    block_fixture f(0, 64, 0, tiers);
    put_chain(f, 8, CUBBY_KEEP_RESTART);
  }
  block_fixture f(0, 64, 0, tiers);
  const auto names = names_to(10);
  const auto keys = keys_of(names);
  const auto split = [&](uint64_t each_ns) {
    const std::vector<uint64_t> recompute(10, each_ns);
    cubby_split_result made{};
    made.struct_size = sizeof made;
    REQUIRE(cubby_split(f.h.rt, f.space, keys.data(), 10, recompute.data(), f.host, &made) ==
            CUBBY_OK);
    return made;
  };
  const cubby_split_result cheap = split(1);  // to compute
  CHECK(cheap.load_count == 0);
  CHECK(cheap.recompute_all_ns == 10);
  CHECK(cheap.finish_ns == 10);
  const cubby_split_result dear = split(1'000'000'000);
  CHECK(dear.load_first == 0);
  CHECK(dear.load_count == 8);  // two are not there
  CHECK(dear.finish_ns == dear.load_all_ns);
  CHECK(dear.finish_ns >= 2'000'000'000);
  CHECK(dear.finish_ns < 3'000'000'000);
  const cubby_split_result both = split(dear.load_all_ns - 2'000'000'000);  // as long as all loads
  CHECK(both.load_first <= 1);
  CHECK(both.finish_ns <= both.load_all_ns);
  CHECK(both.finish_ns <= both.recompute_all_ns);
  for (const uint32_t number : numbers_to(8)) check_bytes(f, number);
  CHECK(split(1'000).load_all_ns == 2'000);  // all is in memory
}

namespace {

/// Ten keys, of which eight are on disk; they are read by the cold start.
struct split_fixture {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  const std::vector<std::string> names = names_to(10);
  const std::vector<cubby_key> keys = keys_of(names);

  cubby_split_result split(const block_fixture &f, uint32_t count, uint64_t each_ns,
                           uint64_t last_ns) const {
    std::vector<uint64_t> recompute(count, each_ns);
    recompute.back() = last_ns;
    cubby_split_result made{};
    made.struct_size = sizeof made;
    REQUIRE(cubby_split(f.h.rt, f.space, keys.data(), count, recompute.data(), f.host, &made) ==
            CUBBY_OK);
    return made;
  }
  cubby_split_result split(const block_fixture &f, uint64_t each_ns) const {
    return split(f, 10, each_ns, each_ns);
  }
  /// Loading the first block alone.
  uint64_t load_one_ns(const block_fixture &f) const {
    return split(f, 1, mib * mib, mib * mib).load_all_ns;
  }
  /// How often the store began to be gone past.
  static uint64_t aside_count(const block_fixture &f) {
    std::string text(64 << 10, '\0');
    size_t needed = 0;
    REQUIRE(cubby_metrics(f.h.rt, text.data(), text.size(), &needed) == CUBBY_OK);
    const size_t name = text.find(R"(cubby_tier_stood_aside_total{tier="disk:0",)");
    REQUIRE(name != std::string::npos);
    return std::strtoull(text.c_str() + text.find("} ", name) + 2, nullptr, 10);
  }
};

constexpr uint32_t splits_min = 16;  // that say the same, before a store stands aside

}  // namespace

TEST_CASE("a store that is slower than computing is gone past, and probed while that is bearable") {
  const split_fixture with;
  {
    block_fixture f(0, 64, 0, with.tiers);
    put_chain(f, 8, CUBBY_KEEP_RESTART);
  }
  block_fixture f(0, 64, 0, with.tiers);
  const uint64_t quick_ns = with.load_one_ns(f) / 12;
  REQUIRE(quick_ns > 100);
  for (uint32_t i = 1; i < splits_min; ++i) CHECK(with.split(f, quick_ns).load_count == 0);
  CHECK(with.aside_count(f) == 0);
  with.split(f, quick_ns);
  CHECK(with.aside_count(f) == 1);
  // After a pause the last block comes from the store, though nothing renews the clock meanwhile.
  std::this_thread::sleep_for(std::chrono::milliseconds(120));
  const cubby_split_result probe = with.split(f, quick_ns);
  CHECK(probe.load_count == 1);
  CHECK(probe.load_first == 7);
  CHECK(probe.finish_ns > probe.recompute_all_ns);
  CHECK(probe.finish_ns <= 2 * probe.recompute_all_ns + 1);
  std::this_thread::sleep_for(std::chrono::milliseconds(220));
  CHECK(with.split(f, quick_ns / 3).load_count == 0);  // it would take four times as long
  CHECK(with.split(f, quick_ns).load_count == 1);
  with.split(f, quick_ns * 1000);
  with.split(f, quick_ns);
  CHECK(with.aside_count(f) == 1);  // one answer more or less changes nothing
}

TEST_CASE("what cannot be computed says nothing of a store") {
  const split_fixture with;
  {
    block_fixture f(0, 64, 0, with.tiers);
    put_chain(f, 8, CUBBY_KEEP_RESTART);
  }
  block_fixture f(0, 64, 0, with.tiers);
  for (uint32_t i = 0; i < 3 * splits_min; ++i) {
    CHECK(with.split(f, 10, 1'000'000'000, UINT64_MAX).finish_ns == UINT64_MAX);
  }
  CHECK(with.aside_count(f) == 0);
}

TEST_CASE("which prefixes are usable, and what follows a key") {
  block_fixture f(0, 16, 0, {{}, 0, 4 * mib});
  put_chain(f, 6, CUBBY_KEEP_CACHE);
  const std::string third = key_of(3);
  const cubby_item gone = named(f, third);
  REQUIRE(cubby_drop(f.h.rt, &gone, 1, 0) == CUBBY_OK);
  const auto names = names_to(6);
  const auto keys = keys_of(names);
  uint64_t restorable = 0;
  cubby_match_rule rule{};
  rule.struct_size = sizeof rule;
  rule.trailing_count = 2;
  rule.restorable = &restorable;
  uint32_t hits = 0;
  REQUIRE(cubby_match(f.h.rt, f.space, keys.data(), 6, &rule, &hits, nullptr) == CUBBY_OK);
  CHECK(hits == 6);
  CHECK(restorable == 0b110011);  // of 1, 2, 5 and 6 keys
  rule = {};
  rule.struct_size = sizeof rule;
  rule.after = &keys[3];
  REQUIRE(cubby_match(f.h.rt, f.space, keys.data() + 4, 2, &rule, &hits, nullptr) == CUBBY_OK);
  CHECK(hits == 2);
  rule.after = &keys[0];
  REQUIRE(cubby_match(f.h.rt, f.space, keys.data() + 4, 2, &rule, &hits, nullptr) == CUBBY_OK);
  CHECK(hits == 0);
}

TEST_CASE("hints on keys: closed blocks go first, scheduled ones are read ahead") {
  const store_directory there;
  block_fixture f(0, 1024, 0, {there.path, 16 * mib, mib});
  put_chain(f, 4, CUBBY_KEEP_RESTART);
  for (uint32_t i = 100; i < 130; ++i) REQUIRE(put(f, i, content_of(i)) == CUBBY_OK);
  REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
  std::vector<uint8_t> states;
  REQUIRE(match(f, numbers_to(4), &states) == 4);
  REQUIRE(states == std::vector<uint8_t>(4, CUBBY_STATE_FILE));
  const std::string second = key_of(2), fourth = key_of(4), missing = key_of(99);
  cubby_hint_item hints[4]{};
  for (cubby_hint_item &one : hints) {
    one.struct_size = sizeof one;
    one.space = f.space;
  }
  hints[0].kind = CUBBY_HINT_SCHEDULED;
  hints[0].key = as_key(second);
  hints[0].when_ns = 1'000'000'000;
  hints[1].kind = CUBBY_HINT_CLOSED;
  hints[1].key = as_key(fourth);
  hints[2].kind = CUBBY_HINT_PRIORITY;
  hints[2].key = as_key(second);
  hints[2].priority = 3;
  hints[3].kind = CUBBY_HINT_CLOSED;
  hints[3].key = as_key(missing);
  uint8_t outcome[4] = {9, 9, 9, 9};
  REQUIRE(cubby_hint(f.h.rt, hints, 4, outcome) == CUBBY_OK);
  CHECK(std::vector<uint8_t>(outcome, outcome + 4) ==
        std::vector<uint8_t>{CUBBY_HINT_ACCEPTED, CUBBY_HINT_ACCEPTED, CUBBY_HINT_ACCEPTED,
                             CUBBY_HINT_REJECTED});
  REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
  REQUIRE(match(f, numbers_to(4), &states) == 4);
  CHECK(states[1] == CUBBY_STATE_HOST);
  CHECK(states[2] == CUBBY_STATE_FILE);
}

TEST_CASE("a block is dropped in one tier, and its key goes with the last copy") {
  const store_directory there;
  block_fixture f(GENERATE(0u, 1u), 64, 0, {there.path, 16 * mib, mib});
  put_chain(f, 3, CUBBY_KEEP_RESTART);
  const auto state_of = [&](uint32_t number) {
    std::vector<uint8_t> states;
    match(f, {number}, &states);
    return states[0];
  };
  const auto names = names_to(3);
  const cubby_item first = named(f, names[0]), second = named(f, names[1]),
                   third = named(f, names[2]);
  CHECK(cubby_drop(f.h.rt, &first, 1, f.host) == CUBBY_OK);
  CHECK(state_of(1) == CUBBY_STATE_FILE);
  CHECK(cubby_drop(f.h.rt, &first, 1, f.host) == CUBBY_OK);  // it is not there
  CHECK(cubby_drop(f.h.rt, &second, 1, f.disk) == CUBBY_OK);
  CHECK(state_of(2) == CUBBY_STATE_HOST);
  check_bytes(f, 1);
  check_bytes(f, 2);
  CHECK(cubby_drop(f.h.rt, &second, 1, f.host) == CUBBY_OK);
  CHECK(state_of(2) == CUBBY_STATE_MISS);
  CHECK(cubby_drop(f.h.rt, &third, 1, f.host) == CUBBY_OK);
  CHECK(cubby_drop(f.h.rt, &third, 1, f.disk) == CUBBY_OK);
  CHECK(state_of(3) == CUBBY_STATE_MISS);
  CHECK(cubby_drop(f.h.rt, &third, 1, f.disk) == CUBBY_OK);
  CHECK(cubby_drop(f.h.rt, &first, 1, 0x7777) == CUBBY_ERR_STALE);
  const auto keys = keys_of(names);
  cubby_pins lease = 0;
  REQUIRE(cubby_lease(f.h.rt, f.space, keys.data(), 1, 0, &lease) == CUBBY_OK);
  CHECK(cubby_drop(f.h.rt, &first, 1, f.host) == CUBBY_ERR_BUSY);
  CHECK(cubby_drop(f.h.rt, &first, 1, f.disk) == CUBBY_ERR_BUSY);
  CHECK(state_of(1) == CUBBY_STATE_HOST);
}

TEST_CASE("a block that moves from one tier to another is got once it is there") {
  block_fixture f(CUBBY_PUMP_CALLER, 64, 0, {}, block_bytes, "lru");
  f.host = f.h.tier("host:0", 0, 4 * block_bytes);
  f.h.tier("host:1", 1, 16 * block_bytes, 0, CUBBY_TIER_EXCLUSIVE);
  uint32_t count = 0;
  while (put(f, count + 1, content_of(count + 1)) == CUBBY_OK && count < 8) ++count;
  REQUIRE(count >= 2);
  std::vector<uint8_t> states;
  match(f, numbers_to(count), &states);
  uint32_t moving = 0;
  while (moving < count && states[moving] != CUBBY_STATE_PENDING) ++moving;
  REQUIRE(moving < count);
  std::string bytes(block_bytes, 'x');
  const block_item one(f.space, key_of(moving + 1), {}, {plain(bytes.data(), bytes.size())});
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_WAIT;
  CHECK(cubby_get(f.h.rt, &one.item, 1, &how, nullptr) == CUBBY_MISS);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_get(f.h.rt, &one.item, 1, nullptr, &ticket) == CUBBY_PENDING);
  CHECK(cubby_wait(f.h.rt, ticket, 10'000'000'000) == CUBBY_OK);
  CHECK(bytes == content_of(moving + 1));
}

TEST_CASE("a put waits for the frames of puts that the runtime has not taken up yet") {
  const store_directory there;
  block_fixture f(CUBBY_PUMP_CALLER, 64, 0, {there.path, 16 * mib, 4 * block_bytes});
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = CUBBY_KEEP_RESTART;
  std::vector<cubby_ticket> tickets;
  for (uint32_t i = 1; i <= 12; ++i) {
    const std::string bytes = content_of(i);
    const block_item one(f.space, key_of(i), {}, {plain(bytes.data(), bytes.size())});
    tickets.emplace_back();
    REQUIRE(cubby_put(f.h.rt, &one.item, 1, &how, &tickets.back()) == CUBBY_PENDING);
  }
  for (const cubby_ticket one : tickets) CHECK(cubby_wait(f.h.rt, one, -1) == CUBBY_OK);
  for (uint32_t i = 1; i <= 12; ++i) check_bytes(f, i);
}

}  // namespace block_life_test
