#include "unit/api/runtime_fixture.hpp"

#include <sys/wait.h>

#include <atomic>
#include <chrono>
#include <thread>

namespace pin_test {

using namespace api_test;

namespace {

constexpr uint64_t mib = 1 << 20;

void check_all(runtime_fixture &h, weights &w, cubby_tier at) {
  for (uint32_t round = 0; round < 3; ++round) {
    for (uint32_t first = 0; first < weights::rows * weights::columns; first += 4) {
      std::vector<const void *> addr;
      cubby_pins pins = 0;
      const std::vector<uint32_t> numbers{first, first + 1, first + 2, first + 3};
      const cubby_status status = h.pin(numbers, at, pins, addr);
      INFO(explain());
      REQUIRE(status == CUBBY_OK);
      for (uint32_t i = 0; i < 4; ++i) {
        for (uint32_t p = 0; p < weights::parts; ++p) {
          REQUIRE(w.same(addr[i * weights::parts + p], numbers[i], p));
        }
      }
      REQUIRE(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
    }
  }
}

}  // namespace

TEST_CASE("lockers come from a file into host memory, right, with either pump") {
  const uint32_t pump = GENERATE(0u, 1u);
  const uint64_t budget = GENERATE(2 * mib, 16 * mib);
  weights w;
  runtime_fixture h(pump);
  const cubby_tier host = h.tier("host:0", 1, budget);
  h.map(w);
  check_all(h, w, host);
  const cubby_tier_stats stats = h.stats(host);
  CHECK(stats.used_bytes <= stats.budget_bytes);
  CHECK(stats.pinned_bytes == 0);
  if (budget == 16 * mib) CHECK(stats.evict_count == 0);
  if (budget == 2 * mib) CHECK(stats.evict_count > 0);
}

TEST_CASE("a frame is copied where more alignment is asked than the file has") {
  const uint32_t pump = GENERATE(0u, 1u);
  weights w;
  runtime_fixture h(pump);
  const cubby_tier host = h.tier("host:0", 1, 4 * mib);
  h.map(w, 4096);
  check_all(h, w, host);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(h.pin({5, 6}, host, pins, addr) == CUBBY_OK);
  for (const void *at : addr) CHECK(reinterpret_cast<uintptr_t>(at) % 4096 == 0);
  cubby_unpin(h.rt, pins, 0, 0, nullptr);
}

TEST_CASE("device over host: inclusive, exclusive, or alone") {
  const uint32_t pump = GENERATE(0u, 1u);
  const int shape = GENERATE(0, 1, 2);
  weights w;
  runtime_fixture h(pump);
  const cubby_tier device = h.tier("device:0", 0, 3 * mib, 20'000'000'000);
  const cubby_tier host = shape == 2 ? 0
                                     : h.tier("host:0", 1, 12 * mib, 0,
                                              shape == 1 ? uint32_t{CUBBY_TIER_EXCLUSIVE} : 0u);
  h.map(w);
  check_all(h, w, device);
  REQUIRE(cubby_drain(h.rt, 10'000'000'000) == CUBBY_OK);
  CHECK(h.stats(device).emulated == 1);
  CHECK(h.stats(device).used_bytes <= 3 * mib);
  if (shape == 2) return;
  CHECK(h.stats(host).used_bytes > 0);
  CHECK(h.stats(host).hit_count > 0);
  check_all(h, w, host);
  check_all(h, w, device);
}

TEST_CASE("lent memory holds the frames: packed, and in pieces by part") {
  const uint32_t pump = GENERATE(0u, 1u);
  const bool strided = GENERATE(false, true);
  weights w;
  runtime_fixture h(pump);
  const uint64_t stride0 = 320'000, stride1 = 71'168, slots = 6;
  std::vector<unsigned char> memory(slots * (stride0 + stride1) + 4096, 0xEE);
  auto *base = memory.data() + (4096 - reinterpret_cast<uintptr_t>(memory.data()) % 4096);
  cubby_region regions[2] = {};
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.base = base;
  desc.bytes = slots * (stride0 + stride1);
  if (strided) {
    desc.stride_bytes = stride0;
    desc.piece_bytes = stride0 - 256;
    desc.piece_count = slots;
  }
  REQUIRE(cubby_region_add(h.rt, &desc, &regions[0]) == CUBBY_OK);
  if (strided) {
    desc.base = base + slots * stride0;
    desc.stride_bytes = stride1;
    desc.piece_bytes = 70'400;
    REQUIRE(cubby_region_add(h.rt, &desc, &regions[1]) == CUBBY_OK);
  }
  cubby_tier_desc tier{};
  tier.struct_size = sizeof tier;
  tier.backend = "host";
  tier.name = "lent:0";
  tier.device = -1;
  tier.memory = regions;
  tier.memory_count = strided ? 2 : 1;
  cubby_tier lent = 0;
  REQUIRE(cubby_tier_add(h.rt, &tier, &lent) == CUBBY_OK);
  CHECK(cubby_region_remove(h.rt, regions[0]) == CUBBY_ERR_BUSY);
  h.map(w);
  check_all(h, w, lent);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(h.pin({1}, lent, pins, addr) == CUBBY_OK);
  const auto at = static_cast<const unsigned char *>(addr[0]);
  CHECK(at >= base);
  CHECK(at < base + desc.bytes + slots * stride0);
  if (strided) {
    CHECK((at - base) % static_cast<std::ptrdiff_t>(stride0) == 0);
    for (uint64_t i = 0; i < slots; ++i) {  // between the pieces nothing is touched
      for (uint64_t k = stride0 - 256; k < stride0; ++k) REQUIRE(base[i * stride0 + k] == 0xEE);
    }
  }
  cubby_unpin(h.rt, pins, 0, 0, nullptr);
}

TEST_CASE("a set that is resident needs no ticket; one that cannot ever fit says what it needs") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_CALLER);
  const cubby_tier host = h.tier("host:0", 0, 2 * mib);
  h.map(w);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(h.pin({0, 1}, host, pins, addr) == CUBBY_OK);
  cubby_pins again = 0;
  const auto wanted = h.items({0, 1});
  cubby_ticket ticket = 7;
  CHECK(cubby_pin(h.rt, wanted.data(), 2, host, nullptr, &again, addr.data(), &ticket) == CUBBY_OK);
  CHECK(ticket == 0);
  CHECK(cubby_unpin(h.rt, again, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_unpin(h.rt, again, 0, 0, nullptr) == CUBBY_ERR_STALE);
  CHECK(cubby_unpin(h.rt, pins, 0, 1, nullptr) == CUBBY_OK);
  CHECK(cubby_unpin(h.rt, pins, 0, 1, nullptr) == CUBBY_ERR_INVALID);
  CHECK(cubby_unpin(h.rt, pins, 1, 5, nullptr) == CUBBY_ERR_INVALID);
  CHECK(h.stats(host).pinned_bytes > 0);
  CHECK(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(h.stats(host).pinned_bytes == 0);

  std::vector<uint32_t> many;
  for (uint32_t i = 0; i < 8; ++i) many.push_back(i);
  CHECK(h.pin(many, host, pins, addr) == CUBBY_ERR_BUDGET);
  cubby_error error{};
  error.struct_size = sizeof error;
  cubby_explain(&error, nullptr, 0);
  CHECK(error.needed_bytes > 2 * mib);
  CHECK(error.tier == host);
}

TEST_CASE("one locker is pinned as often as it can be, and not once more") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_CALLER);
  const cubby_tier host = h.tier("host:0", 0, 12 * mib);
  h.map(w);
  const uint32_t count = 1u << 16;
  std::vector<cubby_item> items(count);
  for (cubby_item &item : items) item.id = CUBBY_ID(h.bank, 3);
  std::vector<int8_t> status(count, CUBBY_PENDING);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.item_status = status.data();
  for (int round = 0; round < 2; ++round) {  // absent, then resident
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    cubby_status came = cubby_pin(h.rt, items.data(), count, host, &how, &pins, nullptr, &ticket);
    if (came == CUBBY_PENDING) came = cubby_wait(h.rt, ticket, -1);
    CHECK(came == CUBBY_PARTIAL);
    CHECK_THAT(api_test::explain(), Catch::Contains("as often as it can be"));
    const auto held = std::count(status.begin(), status.end(), int8_t{CUBBY_OK});
    CHECK(held >= 65534);
    CHECK(held + std::count(status.begin(), status.end(), int8_t{CUBBY_ERR_BUSY}) == count);
    CHECK(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  }
  cubby_item once{};
  once.id = CUBBY_ID(h.bank, 3);
  CHECK(cubby_drop(h.rt, &once, 1, host) == CUBBY_OK);  // nobody holds it any more
}

TEST_CASE("NO_WAIT tells what is there and fetches nothing") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_CALLER);
  const cubby_tier host = h.tier("host:0", 0, 4 * mib);
  h.map(w);
  std::vector<const void *> addr;
  cubby_pins held = 0;
  REQUIRE(h.pin({2}, host, held, addr) == CUBBY_OK);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_WAIT;
  int8_t status[2] = {9, 9};
  how.item_status = status;
  const auto wanted = h.items({2, 3});
  addr.assign(4, nullptr);
  cubby_pins pins = 0;
  CHECK(cubby_pin(h.rt, wanted.data(), 2, host, &how, &pins, addr.data(), nullptr) ==
        CUBBY_PARTIAL);
  CHECK(status[0] == CUBBY_OK);
  CHECK(status[1] == CUBBY_MISS);
  CHECK(w.same(addr[0], 2, 0));
  CHECK(addr[2] == nullptr);
  CHECK(cubby_unpin(h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(cubby_pin(h.rt, wanted.data() + 1, 1, host, &how, &pins, addr.data(), nullptr) ==
        CUBBY_MISS);
  CHECK(pins == 0);
  CHECK(h.stats(host).read_count == 0);
  cubby_unpin(h.rt, held, 0, 0, nullptr);
}

TEST_CASE(
    "one flipped byte: that locker is corrupt once it is loaded again, the others are served") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_THREAD);
  const cubby_tier host = h.tier("host:0", 0, 16 * mib);
  h.map(w);
  check_all(h, w, host);  // digests are taken at first sight
  std::vector<uint32_t> all;
  for (uint32_t i = 0; i < 24; ++i) all.push_back(i);
  const auto everything = h.items(all);
  REQUIRE(cubby_drop(h.rt, everything.data(), 24, 0) == CUBBY_OK);
  CHECK(h.stats(host).used_bytes == 0);
  w.flip(10, 1);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  int bad = 0;
  for (uint32_t i = 0; i < 24; ++i) {
    const cubby_status status = h.pin({i}, host, pins, addr);
    if (status != CUBBY_OK) {
      ++bad;
      CHECK(status == CUBBY_ERR_CORRUPT);
      CHECK(i == 10);
    } else {
      CHECK(w.same(addr[0], i, 0));
      cubby_unpin(h.rt, pins, 0, 0, nullptr);
    }
  }
  CHECK(bad == 1);
}

TEST_CASE("prefetch brings lockers without holding them; BYPASS leaves nothing behind") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_THREAD);
  const cubby_tier host = h.tier("host:0", 0, 16 * mib);
  h.map(w);
  const auto wanted = h.items({0, 1, 2, 3});
  cubby_ticket ticket = 0;
  REQUIRE(cubby_prefetch(h.rt, wanted.data(), 4, host, nullptr, &ticket) == CUBBY_PENDING);
  REQUIRE(cubby_wait(h.rt, ticket, 10'000'000'000) == CUBBY_OK);
  CHECK(cubby_wait(h.rt, ticket, 0) == CUBBY_ERR_STALE);
  CHECK(h.stats(host).pinned_bytes == 0);
  std::vector<const void *> addr(8);
  cubby_pins pins = 0;
  CHECK(cubby_pin(h.rt, wanted.data(), 4, host, nullptr, &pins, addr.data(), &ticket) == CUBBY_OK);
  cubby_unpin(h.rt, pins, 0, 0, nullptr);
  CHECK(h.stats(host).hit_count == 4);

  const uint64_t before = h.stats(host).used_bytes;
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_BYPASS;
  const auto once = h.items({9});
  REQUIRE(cubby_pin(h.rt, once.data(), 1, host, &how, &pins, addr.data(), &ticket) ==
          CUBBY_PENDING);
  REQUIRE(cubby_wait(h.rt, ticket, 10'000'000'000) == CUBBY_OK);
  CHECK(w.same(addr[0], 9, 0));
  CHECK(h.stats(host).used_bytes > before);
  cubby_unpin(h.rt, pins, 0, 0, nullptr);
  for (int i = 0; i < 200 && h.stats(host).used_bytes > before; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  CHECK(h.stats(host).used_bytes == before);
}

TEST_CASE("sets that need more than is free wait for each other and all come") {
  const uint32_t pump = GENERATE(0u, 1u);
  weights w;
  runtime_fixture h(pump);
  const cubby_tier host = h.tier("host:0", 0, 2 * mib);
  h.map(w);
  std::vector<std::thread> threads;
  std::atomic<int> wrong{0};
  for (uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      cubby::base::prng random(t);
      for (int i = 0; i < 60; ++i) {
        std::vector<cubby_item> wanted;
        for (int k = 0; k < 4; ++k) {
          wanted.push_back({});
          wanted.back().id = CUBBY_ID(h.bank, random.below(24));
        }
        const void *addr[8];
        cubby_pins pins = 0;
        cubby_ticket ticket = 0;
        cubby_status status =
            cubby_pin(h.rt, wanted.data(), 4, host, nullptr, &pins, addr, &ticket);
        if (status == CUBBY_PENDING) status = cubby_wait(h.rt, ticket, 30'000'000'000);
        if (status != CUBBY_OK) {
          ++wrong;
          continue;
        }
        for (uint32_t k = 0; k < 4; ++k) {
          if (!w.same(addr[2 * k], static_cast<uint32_t>(wanted[k].id & 0xFFFFFF), 0)) ++wrong;
        }
        cubby_unpin(h.rt, pins, 0, 0, nullptr);
      }
    });
  }
  for (auto &thread : threads) thread.join();
  CHECK(wrong == 0);
  CHECK(h.stats(host).peak_bytes <= 2 * mib);
  CHECK(h.stats(host).pinned_bytes == 0);
}

TEST_CASE("a tier shrinks and grows while it is used") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_THREAD);
  const cubby_tier host = h.tier("host:0", 0, 8 * mib);
  h.map(w);
  check_all(h, w, host);
  cubby_ticket ticket = 0;
  REQUIRE(cubby_tier_resize(h.rt, host, 2 * mib, &ticket) == CUBBY_PENDING);
  REQUIRE(cubby_wait(h.rt, ticket, 10'000'000'000) == CUBBY_OK);
  CHECK(h.stats(host).used_bytes <= 2 * mib);
  check_all(h, w, host);
  REQUIRE(cubby_tier_resize(h.rt, host, 12 * mib, &ticket) == CUBBY_PENDING);
  REQUIRE(cubby_wait(h.rt, ticket, 10'000'000'000) == CUBBY_OK);
  check_all(h, w, host);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(h.pin({0, 1, 2, 3}, host, pins, addr) == CUBBY_OK);
  CHECK(cubby_tier_resize(h.rt, host, mib, &ticket) == CUBBY_ERR_BUDGET);
  cubby_unpin(h.rt, pins, 0, 0, nullptr);
}

TEST_CASE("a bank that is always in use somewhere is removed all the same") {
  // Each thread has pins in flight or held nearly all the time; together, all the time.
  weights w;
  runtime_fixture h(CUBBY_PUMP_THREAD);
  const cubby_tier host = h.tier("host:0", 0, 4 * mib);
  h.map(w);
  const cubby_bank bank = h.bank;
  std::atomic<uint32_t> used{0}, wrong{0};
  std::vector<std::thread> users;
  for (uint32_t i = 0; i < 4; ++i) {
    users.emplace_back([&, i] {
      for (uint32_t number = i;; number = (number + 5) % (weights::rows * weights::columns)) {
        cubby_item item{};
        item.id = CUBBY_ID(bank, number);
        const void *addr[weights::parts]{};
        cubby_pins pins = 0;
        cubby_ticket ticket = 0;
        cubby_status status = cubby_pin(h.rt, &item, 1, host, nullptr, &pins, addr, &ticket);
        if (status == CUBBY_PENDING) status = cubby_wait(h.rt, ticket, -1);
        if (status == CUBBY_ERR_STALE) return;  // it is gone
        if (status == CUBBY_ERR_BUSY) {
          std::this_thread::yield();
          continue;
        }
        if (status != CUBBY_OK || !w.same(addr[0], number, 0)) ++wrong;
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
        ++used;
        if (cubby_unpin(h.rt, pins, 0, 0, nullptr) != CUBBY_OK) ++wrong;
      }
    });
  }
  while (used.load() < 20) std::this_thread::yield();
  const cubby_status removed = cubby_bank_remove(h.rt, bank);
  INFO(explain());
  CHECK(removed == CUBBY_OK);
  // Where it is not, its users would never end.
  for (int i = 0; i < 10'000 && removed != CUBBY_OK; ++i)
    if (cubby_bank_remove(h.rt, bank) == CUBBY_OK) break;
  for (std::thread &one : users) one.join();
  CHECK(wrong == 0);
  CHECK(cubby_bank_remove(h.rt, bank) == CUBBY_ERR_STALE);
}

TEST_CASE("calls for a bank that is being removed are BUSY, and it may be there as before") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_THREAD);
  const cubby_tier host = h.tier("host:0", 0, 4 * mib);
  h.map(w);
  std::vector<const void *> addr;
  cubby_pins held = 0;
  REQUIRE(h.pin({3}, host, held, addr) == CUBBY_OK);
  std::atomic<bool> over{false};
  std::thread remover([&] {
    CHECK(cubby_bank_remove(h.rt, h.bank) == CUBBY_ERR_BUSY);
    over = true;
  });
  uint32_t busy = 0, stale = 0;
  while (!over.load()) {
    cubby_bank_desc desc{};
    const cubby_status status = cubby_bank_info(h.rt, h.bank, &desc);
    busy += status == CUBBY_ERR_BUSY;
    stale += status == CUBBY_ERR_STALE;
  }
  remover.join();
  CHECK(busy != 0);
  CHECK(stale == 0);
  cubby_pins again = 0;
  REQUIRE(h.pin({3}, host, again, addr) == CUBBY_OK);
  CHECK(w.same(addr[0], 3, 0));
  cubby_unpin(h.rt, again, 0, 0, nullptr);
  cubby_unpin(h.rt, held, 0, 0, nullptr);
  CHECK(cubby_bank_remove(h.rt, h.bank) == CUBBY_OK);
}

TEST_CASE("a bank in use stays, one that is not goes, and its handle turns stale") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_THREAD);
  const cubby_tier host = h.tier("host:0", 0, 4 * mib);
  h.map(w);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(h.pin({3}, host, pins, addr) == CUBBY_OK);
  CHECK(cubby_bank_remove(h.rt, h.bank) == CUBBY_ERR_BUSY);
  CHECK(w.same(addr[0], 3, 0));
  cubby_unpin(h.rt, pins, 0, 0, nullptr);
  const cubby_bank old = h.bank;
  REQUIRE(cubby_bank_remove(h.rt, old) == CUBBY_OK);
  CHECK(cubby_bank_remove(h.rt, old) == CUBBY_ERR_STALE);
  CHECK(h.pin({3}, host, pins, addr) == CUBBY_ERR_STALE);
  CHECK(h.stats(host).used_bytes == 0);
  h.map(w);
  CHECK(h.bank != old);
  check_all(h, w, host);
}

TEST_CASE("cancelled and withdrawn pins end once and hold nothing") {
  weights w;
  runtime_fixture h(CUBBY_PUMP_THREAD);
  const cubby_tier host = h.tier("host:0", 0, 2 * mib);
  h.map(w);
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(h.rt, 4, &queue) == CUBBY_OK);
  cubby::base::prng random(5);
  uint64_t accepted = 0, seen = 0;
  cubby_done done[4];
  for (uint64_t i = 0; i < 300; ++i) {
    const auto wanted =
        h.items({static_cast<uint32_t>(random.below(24)), static_cast<uint32_t>(random.below(24))});
    std::array<const void *, 4> addr{};
    cubby_how how{};
    how.struct_size = sizeof how;
    how.cq = queue;
    how.user = i;
    cubby_pins pins = 0;
    cubby_ticket ticket = 0;
    const cubby_status status =
        cubby_pin(h.rt, wanted.data(), 2, host, &how, &pins, addr.data(), &ticket);
    if (status == CUBBY_OK) {
      cubby_unpin(h.rt, pins, 0, 0, nullptr);
    } else if (status == CUBBY_PENDING) {
      ++accepted;
      if (random.chance(1, 2)) {
        cubby_cancel(h.rt, ticket);
        cubby_wait(h.rt, ticket, 10'000'000'000);
        cubby_unpin(h.rt, pins, 0, 0, nullptr);  // STALE where the cancel was in time
      } else {
        cubby_unpin(h.rt, pins, 0, random.chance(1, 2) ? 0 : 1, nullptr);
        cubby_wait(h.rt, ticket, 10'000'000'000);
        cubby_unpin(h.rt, pins, 0, 0, nullptr);
      }
    } else {
      REQUIRE(status == CUBBY_ERR_BUSY);
    }
    seen += cubby_cq_take(queue, done, 4);
  }
  REQUIRE(cubby_drain(h.rt, 10'000'000'000) == CUBBY_OK);
  seen += cubby_cq_take(queue, done, 4);
  CHECK(seen == accepted);
  CHECK(h.stats(host).pinned_bytes == 0);
  CHECK(cubby_cq_remove(queue) == CUBBY_OK);
}

TEST_CASE("handles of another runtime are refused, and a fork is noticed") {
  weights w;
  runtime_fixture a(CUBBY_PUMP_CALLER), b(CUBBY_PUMP_CALLER);
  const cubby_tier host_a = a.tier("host:0", 0, 2 * mib);
  const cubby_tier host_b = b.tier("host:0", 0, 2 * mib);
  a.map(w);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(a.pin({0}, host_a, pins, addr) == CUBBY_OK);
  CHECK(cubby_unpin(b.rt, pins, 0, 0, nullptr) == CUBBY_ERR_STALE);
  CHECK(a.pin({0}, host_b, pins, addr) == CUBBY_ERR_STALE);
  const pid_t child = fork();
  if (child == 0) {
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    _exit(cubby_stats(a.rt, &block, nullptr, 0) == CUBBY_ERR_FORKED &&
                  cubby_close(a.rt) == CUBBY_ERR_FORKED
              ? 0
              : 1);
  }
  int status = 1;
  REQUIRE(waitpid(child, &status, 0) == child);
  CHECK(status == 0);
}

}  // namespace pin_test
