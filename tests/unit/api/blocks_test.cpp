// KV blocks by key, in memory: put, match, get, drop, spaces.
#include <sys/mman.h>

#include <thread>

#include "unit/api/block_fixture.hpp"

namespace blocks_test {

using namespace api_test;

TEST_CASE("a block that was put is found by its key, with its bytes") {
  block_fixture f(GENERATE(0u, 1u), 16, GENERATE(0u, 3u));
  f.h.tier("host:0", 0, 4 * mib);
  CHECK(match(f, {1, 2}) == 0);
  REQUIRE(put(f, 1, content_of(1)) == CUBBY_OK);
  REQUIRE(put(f, 2, content_of(2), key_of(1)) == CUBBY_OK);
  std::vector<uint8_t> states;
  CHECK(match(f, {1, 2, 3}, &states) == 2);
  CHECK(states == std::vector<uint8_t>{CUBBY_STATE_HOST, CUBBY_STATE_HOST, CUBBY_STATE_MISS});
  for (const uint32_t number : {1u, 2u}) {
    std::string bytes(block_bytes, 'x');
    REQUIRE(get(f, number, bytes) == CUBBY_OK);
    CHECK(bytes == content_of(number));
  }
}

TEST_CASE("a known key is put again without moving anything") {
  block_fixture f(0, 16);
  const cubby_tier host = f.h.tier("host:0", 0, 4 * mib);
  REQUIRE(put(f, 1, content_of(1)) == CUBBY_OK);
  const uint64_t used = f.h.stats(host).used_bytes;
  CHECK(put(f, 1, content_of(2)) == CUBBY_OK);
  CHECK(f.h.stats(host).used_bytes == used);
  std::string bytes(block_bytes, 'x');
  REQUIRE(get(f, 1, bytes) == CUBBY_OK);
  CHECK(bytes == content_of(1));
}

TEST_CASE("nothing is found across spaces") {
  block_fixture f(0, 16);
  f.h.tier("host:0", 0, 4 * mib);
  const cubby_space model = f.add_space("other model", "tenant");
  const cubby_space tenant = f.add_space("model", "other tenant");
  const cubby_space same = f.add_space("model", "tenant");
  REQUIRE(put(f, 1, content_of(1)) == CUBBY_OK);
  std::string bytes(block_bytes, 'x');
  for (const cubby_space space : {model, tenant}) {
    CHECK(match(f, {1}, nullptr, space) == 0);
    CHECK(get(f, 1, bytes, space) == CUBBY_MISS);
    CHECK(bytes == std::string(block_bytes, 'x'));
  }
  CHECK(get(f, 1, bytes, same) == CUBBY_OK);
  REQUIRE(put(f, 1, content_of(7), {}, tenant) == CUBBY_OK);
  REQUIRE(get(f, 1, bytes, tenant) == CUBBY_OK);
  CHECK(bytes == content_of(7));
  REQUIRE(get(f, 1, bytes) == CUBBY_OK);
  CHECK(bytes == content_of(1));
}

TEST_CASE("a block put before its parent counts once the chain to it is there") {
  block_fixture f(0, 16);
  f.h.tier("host:0", 0, 4 * mib);
  REQUIRE(put(f, 3, content_of(3), key_of(2)) == CUBBY_OK);
  REQUIRE(put(f, 2, content_of(2), key_of(1)) == CUBBY_OK);
  std::vector<uint8_t> states;
  CHECK(match(f, {1, 2, 3}, &states) == 0);
  CHECK(states == std::vector<uint8_t>{CUBBY_STATE_MISS, CUBBY_STATE_HOST, CUBBY_STATE_HOST});
  REQUIRE(put(f, 1, content_of(1)) == CUBBY_OK);
  CHECK(match(f, {1, 2, 3}) == 3);
}

TEST_CASE("scattered and strided memory: no byte outside the spans is touched") {
  block_fixture f(0, 16);
  f.h.tier("host:0", 0, 4 * mib);
  const std::string content = content_of(1);
  REQUIRE(put(f, 1, content) == CUBBY_OK);

  SECTION("a page between two that nobody may touch") {
    auto *const pages =
        static_cast<char *>(mmap(nullptr, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(pages != MAP_FAILED);
    REQUIRE(mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE) == 0);
    block_item one(f.space, key_of(1), {}, {plain(pages + 4096, 4096)});
    one.item.at_bytes = 12345;
    REQUIRE(cubby_get(f.h.rt, &one.item, 1, nullptr, nullptr) == CUBBY_OK);
    CHECK(std::memcmp(pages + 4096, content.data() + 12345, 4096) == 0);
    munmap(pages, 3 * 4096);
  }
  SECTION("layers of a paged tensor") {
    constexpr uint64_t layers = 8, piece = block_bytes / layers, stride = 3 * piece;
    std::string tensor(layers * stride, '#');
    cubby_region_desc desc{};
    desc.struct_size = sizeof desc;
    desc.base = tensor.data() + piece;
    desc.stride_bytes = stride;
    desc.piece_bytes = piece;
    desc.piece_count = layers;
    cubby_region region = 0;
    REQUIRE(cubby_region_add(f.h.rt, &desc, &region) == CUBBY_OK);
    const block_item one(f.space, key_of(1), {},
                         {{region, 0, 0, 3000}, {region, 0, 3000, block_bytes - 3000}});
    REQUIRE(cubby_get(f.h.rt, &one.item, 1, nullptr, nullptr) == CUBBY_OK);
    for (uint64_t layer = 0; layer < layers; ++layer) {
      const char *const at = tensor.data() + layer * stride;
      CHECK(std::memcmp(at + piece, content.data() + layer * piece, piece) == 0);
      CHECK(std::string(at, piece) == std::string(piece, '#'));
      CHECK(std::string(at + 2 * piece, piece) == std::string(piece, '#'));
    }
    // And back, under another key.
    const block_item other(f.space, key_of(9), {}, {{region, 0, 0, block_bytes}});
    REQUIRE(cubby_put(f.h.rt, &other.item, 1, nullptr, nullptr) == CUBBY_OK);
    std::string bytes(block_bytes, 'x');
    REQUIRE(get(f, 9, bytes) == CUBBY_OK);
    CHECK(bytes == content);
    CHECK(cubby_region_remove(f.h.rt, region) == CUBBY_OK);
    CHECK(cubby_get(f.h.rt, &one.item, 1, nullptr, nullptr) == CUBBY_ERR_STALE);
  }
}

TEST_CASE("a batch says of each item how it went; what is missing leaves its memory as it was") {
  block_fixture f(1, 16);
  f.h.tier("host:0", 0, 4 * mib);
  REQUIRE(put(f, 1, content_of(1)) == CUBBY_OK);
  REQUIRE(put(f, 3, content_of(3)) == CUBBY_OK);
  std::vector<std::string> into(3, std::string(block_bytes, 'x'));
  const block_item first(f.space, key_of(1), {}, {plain(into[0].data(), block_bytes)});
  const block_item second(f.space, key_of(2), {}, {plain(into[1].data(), block_bytes)});
  const block_item third(f.space, key_of(3), {}, {plain(into[2].data(), block_bytes)});
  const cubby_item items[] = {first.item, second.item, third.item};
  int8_t status[3] = {99, 99, 99};
  cubby_how how{};
  how.struct_size = sizeof how;
  how.item_status = status;
  CHECK(cubby_get(f.h.rt, items, 3, &how, nullptr) == CUBBY_PARTIAL);
  CHECK(status[0] == CUBBY_OK);
  CHECK(status[1] == CUBBY_MISS);
  CHECK(status[2] == CUBBY_OK);
  CHECK(into[0] == content_of(1));
  CHECK(into[1] == std::string(block_bytes, 'x'));
  CHECK(into[2] == content_of(3));
}

TEST_CASE("blocks that find no room take that of others, and those are not found any more") {
  const uint32_t pump = GENERATE(0u, 1u);
  const bool few_columns = GENERATE(false, true);
  block_fixture f(pump, few_columns ? 8 : 256);
  const cubby_tier host = f.h.tier("host:0", 0, few_columns ? 16 * mib : 8 * block_bytes);
  for (uint32_t number = 0; number < 64; ++number) {
    INFO(number);
    REQUIRE(put(f, number, content_of(number)) == CUBBY_OK);
    CHECK(match(f, {number}) == 1);
  }
  uint32_t found = 0;
  for (uint32_t number = 0; number < 64; ++number) {
    std::string bytes(block_bytes, 'x');
    const cubby_status status = get(f, number, bytes);
    CHECK(match(f, {number}) == (status == CUBBY_OK ? 1 : 0));
    if (status == CUBBY_OK) {
      ++found;
      CHECK(bytes == content_of(number));
    } else {
      CHECK(status == CUBBY_MISS);
      CHECK(bytes == std::string(block_bytes, 'x'));
    }
  }
  CHECK(found == 8);
  CHECK(f.h.stats(host).used_bytes == 8 * block_bytes);
  CHECK(f.h.stats(host).peak_bytes <= f.h.stats(host).budget_bytes);
}

TEST_CASE("what leaves the nearest tier is found in the next") {
  block_fixture f(1, 64);
  f.h.tier("host:0", 0, 4 * block_bytes);
  f.h.tier("host:1", 1, 32 * block_bytes, 0, CUBBY_TIER_EXCLUSIVE);
  for (uint32_t number = 0; number < 12; ++number) {
    cubby_status status = put(f, number, content_of(number));
    for (int i = 0; status == CUBBY_ERR_BUSY && i < 100; ++i) {  // while copies go down
      REQUIRE(cubby_drain(f.h.rt, 1'000'000'000) == CUBBY_OK);
      status = put(f, number, content_of(number));
    }
    REQUIRE(status == CUBBY_OK);
  }
  REQUIRE(cubby_drain(f.h.rt, 1'000'000'000) == CUBBY_OK);
  for (uint32_t number = 0; number < 12; ++number) {
    std::string bytes(block_bytes, 'x');
    INFO(number);
    CHECK(get(f, number, bytes) == CUBBY_OK);
    CHECK(bytes == content_of(number));
  }
}

TEST_CASE("the end of a chain leaves memory before its beginning, which alone is of use") {
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  block_tiers tiers;
  tiers.host_bytes = 2 * mib;
  const block_fixture f(pump, 256, 0, tiers);
  const auto put_at_once = [&](uint32_t first, uint32_t count) {
    std::vector<std::string> bytes;
    std::deque<block_item> made;
    std::vector<cubby_item> items;
    for (uint32_t i = first; i < first + count; ++i) bytes.push_back(content_of(i));
    for (uint32_t i = first; i < first + count; ++i) {
      const std::string &from = bytes[i - first];
      made.emplace_back(f.space, key_of(i), i == first ? "" : key_of(i - 1),
                        std::vector{plain(from.data(), from.size())});
      items.push_back(made.back().item);
    }
    REQUIRE(cubby_put(f.h.rt, items.data(), count, nullptr, nullptr) == CUBBY_OK);
  };
  put_at_once(1, 24);
  REQUIRE(match(f, numbers_to(24)) == 24);
  put_at_once(101, 16);  // into a third of the room that it needs
  // Were the least recently put first to leave, nothing of the chain would be found.
  CHECK(match(f, numbers_to(24)) >= 12);
}

TEST_CASE("dropped blocks and removed spaces are forgotten, and their room is free") {
  block_fixture f(0, 16);
  const cubby_tier host = f.h.tier("host:0", 0, 4 * mib);
  for (const uint32_t number : {1u, 2u, 3u})
    REQUIRE(put(f, number, content_of(number)) == CUBBY_OK);
  std::string bytes(block_bytes, 'x');
  const block_item one(f.space, key_of(1), {}, {});
  CHECK(cubby_drop(f.h.rt, &one.item, 1, 0) == CUBBY_OK);
  CHECK(get(f, 1, bytes) == CUBBY_MISS);
  CHECK(cubby_drop(f.h.rt, &one.item, 1, 0) == CUBBY_OK);
  CHECK(f.h.stats(host).used_bytes == 2 * block_bytes);
  CHECK(cubby_bank_remove(f.h.rt, f.bank) == CUBBY_ERR_BUSY);
  CHECK(cubby_space_remove(f.h.rt, f.space) == CUBBY_OK);
  CHECK(cubby_space_remove(f.h.rt, f.space) == CUBBY_ERR_STALE);
  CHECK(get(f, 2, bytes) == CUBBY_ERR_STALE);
  CHECK(f.h.stats(host).used_bytes == 0);
  const cubby_space again = f.add_space("model", "tenant");
  CHECK(get(f, 2, bytes, again) == CUBBY_MISS);
  for (uint32_t number = 0; number < 16; ++number) {
    CHECK(put(f, number, content_of(number), {}, again) == CUBBY_OK);
  }
  CHECK(cubby_space_remove(f.h.rt, again) == CUBBY_OK);
  CHECK(cubby_bank_remove(f.h.rt, f.bank) == CUBBY_OK);
}

TEST_CASE("blocks of fewer bytes, and parts of them") {
  block_fixture f(0, 16, 3);
  f.h.tier("host:0", 0, 4 * mib);
  const std::string content = content_of(1, 50'000);
  REQUIRE(put(f, 1, content) == CUBBY_OK);
  std::string bytes(50'000, 'x');
  REQUIRE(get(f, 1, bytes) == CUBBY_OK);
  CHECK(bytes == content);
  std::string too_many(50'001, 'x');
  CHECK(get(f, 1, too_many) == CUBBY_ERR_INVALID);
  CHECK(explain().find("50000") != std::string::npos);
  CHECK(too_many == std::string(50'001, 'x'));
  std::string part(20'000, 'x');
  block_item one(f.space, key_of(1), {}, {plain(part.data(), part.size())});
  one.item.at_bytes = 30'000;
  REQUIRE(cubby_get(f.h.rt, &one.item, 1, nullptr, nullptr) == CUBBY_OK);
  CHECK(part == content.substr(30'000));
}

TEST_CASE("what cannot be put or got is refused by name") {
  block_fixture f(0, 16);
  const std::string content = content_of(1);
  CHECK(put(f, 1, content) == CUBBY_ERR_NOT_SUPPORTED);  // no tier yet
  CHECK(explain().find("host") != std::string::npos);
  f.h.tier("small", 0, 4096);
  CHECK(put(f, 1, content) == CUBBY_ERR_BUDGET);
  f.h.tier("host:0", 1, 4 * mib);
  std::string bytes(block_bytes, 'x');
  const auto refused = [&](cubby_item item, cubby_status wanted) {
    const cubby_status was_put = cubby_put(f.h.rt, &item, 1, nullptr, nullptr);
    INFO(explain());
    CHECK(was_put == wanted);
    CHECK(!explain().empty());
  };
  const block_item good(f.space, key_of(1), {}, {plain(bytes.data(), block_bytes)});
  cubby_item item = good.item;
  const std::string long_key(65, 'k');
  item.key = as_key(long_key);
  refused(item, CUBBY_ERR_INVALID);
  item.key = {long_key.data(), 0};
  refused(item, CUBBY_ERR_INVALID);
  item.key = {nullptr, 3};
  refused(item, CUBBY_ERR_INVALID);
  item = good.item;
  item.space = 77;
  refused(item, CUBBY_ERR_STALE);
  item.space = 0;
  refused(item, CUBBY_ERR_INVALID);
  item = good.item;
  item.at_bytes = 1;
  refused(item, CUBBY_ERR_INVALID);
  item = good.item;
  item.span_count = 0;
  refused(item, CUBBY_ERR_INVALID);
  for (const cubby_span bad :
       {cubby_span{0, 0, 0, 8}, plain(bytes.data(), 0), plain(bytes.data(), ~uint64_t{0}),
        plain(bytes.data(), block_bytes + 1),
        cubby_span{0, 1, reinterpret_cast<uintptr_t>(bytes.data()), 8}}) {
    item = good.item;
    item.spans = &bad;
    refused(item, CUBBY_ERR_INVALID);
  }
  const cubby_span foreign = {12345, 0, 0, 8};
  item = good.item;
  item.spans = &foreign;
  refused(item, CUBBY_ERR_STALE);
  CHECK(match(f, {1}) == 0);  // nothing of all that has left a trace
  REQUIRE(put(f, 1, content) == CUBBY_OK);
  cubby_item by_number{};
  by_number.id = CUBBY_ID(f.bank, 0);
  cubby_pins pins = 0;
  cubby_ticket ticket = 0;
  CHECK(cubby_prefetch(f.h.rt, &by_number, 1, 1, nullptr, &ticket) < 0);
  CHECK(cubby_drop(f.h.rt, &by_number, 1, 0) == CUBBY_ERR_INVALID);
  const uint16_t column = 0;
  cubby_hint_item hint{};
  hint.struct_size = sizeof hint;
  hint.kind = CUBBY_HINT_ROUTE;
  hint.bank = f.bank;
  hint.route.columns = &column;
  hint.route.column_count = 1;
  uint8_t outcome = 0xEE;
  CHECK(cubby_hint(f.h.rt, &hint, 1, &outcome) == CUBBY_OK);
  CHECK(outcome == CUBBY_HINT_REJECTED);  // a route names columns of experts
  weights w;
  f.h.map(w);
  cubby_space_desc desc{};
  desc.struct_size = sizeof desc;
  desc.bank = f.h.bank;
  cubby_space made = 0;
  CHECK(cubby_space_add(f.h.rt, &desc, &made) == CUBBY_ERR_INVALID);
  static_cast<void>(pins);
}

TEST_CASE("many threads put and get: right bytes or a miss") {
  const uint32_t pump = GENERATE(0u, 1u);
  block_fixture f(pump, 64);
  f.h.tier("host:0", 0, 12 * block_bytes);
  std::atomic<uint32_t> wrong{0}, hits{0}, misses{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      cubby::base::prng random(t + 1);
      std::string bytes(block_bytes, 'x');
      for (uint32_t i = 0; i < 400; ++i) {
        const auto number = static_cast<uint32_t>(random.below(40));
        if (random.below(2) == 0) {
          const cubby_status status = put(f, number, content_of(number));
          if (status != CUBBY_OK && status != CUBBY_ERR_BUSY) ++wrong;
          continue;
        }
        const cubby_status status = get(f, number, bytes);
        if (status == CUBBY_MISS) {
          ++misses;
        } else if (status != CUBBY_OK || bytes != content_of(number)) {
          ++wrong;
        } else {
          ++hits;
        }
      }
    });
  }
  for (std::thread &thread : threads) thread.join();
  CHECK(wrong.load() == 0);
  CHECK(hits.load() != 0);
  CHECK(misses.load() != 0);
}

TEST_CASE("memory of a shared file takes and gives blocks") {
  block_fixture f(0, 16);
  f.h.tier("host:0", 0, 4 * mib);
  const int fd = ::memfd_create("blocks", MFD_CLOEXEC);
  REQUIRE(fd >= 0);
  REQUIRE(::ftruncate(fd, 4 * static_cast<off_t>(block_bytes)) == 0);
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.kind = CUBBY_MEMORY_SHARED_FD;
  desc.fd = fd;
  desc.bytes = 5 * block_bytes;
  cubby_region region = 0;
  CHECK(cubby_region_add(f.h.rt, &desc, &region) == CUBBY_ERR_INVALID);
  CHECK(explain().find("longer") != std::string::npos);
  desc.bytes = 4 * block_bytes;
  REQUIRE(cubby_region_add(f.h.rt, &desc, &region) == CUBBY_OK);
  const std::string content = content_of(1);
  REQUIRE(::pwrite(fd, content.data(), block_bytes, block_bytes) ==
          static_cast<ssize_t>(block_bytes));
  const block_item from(f.space, key_of(1), {}, {{region, 0, block_bytes, block_bytes}});
  REQUIRE(cubby_put(f.h.rt, &from.item, 1, nullptr, nullptr) == CUBBY_OK);
  const block_item to(f.space, key_of(1), {}, {{region, 0, 3 * block_bytes, block_bytes}});
  REQUIRE(cubby_get(f.h.rt, &to.item, 1, nullptr, nullptr) == CUBBY_OK);
  std::string seen(block_bytes, 'x');
  REQUIRE(::pread(fd, seen.data(), block_bytes, 3 * static_cast<off_t>(block_bytes)) ==
          static_cast<ssize_t>(block_bytes));
  CHECK(seen == content);
  CHECK(cubby_region_remove(f.h.rt, region) == CUBBY_OK);
  ::close(fd);
  desc.fd = -1;
  CHECK(cubby_region_add(f.h.rt, &desc, &region) < 0);
}

}  // namespace blocks_test
