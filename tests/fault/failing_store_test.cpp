// A store of KV blocks on a disk that cannot be read for a while: what is asked for fails at once
// or is served from memory, the disk is left alone but for probes, and all is well again
// afterwards.
#include <chrono>
#include <thread>

#include "engine/failed_reads.hpp"
#include "fault/failing_backend.hpp"
#include "threadpool/threadpool.hpp"
#include "unit/api/block_fixture.hpp"

using namespace api_test;
using cubby::engine::failed_reads;
using failing::extent;
using failing::fault;

namespace {

constexpr uint32_t count = 48, in_memory = 16;

/// Blocks 1 to `count` in a store, a few of them in memory too. Reads of the store may fail.
struct failing_store {
  failing::faults injected;
  store_directory at;
  block_fixture f{CUBBY_PUMP_CALLER, 64};

  failing_store() {
    const auto *ops = failing::wrapped<cubby_threadpool_backend>("failing_files");
    REQUIRE(cubby::api::register_backend(f.h.rt, ops, &injected) == CUBBY_OK);
    f.host = f.h.tier("host:0", 0, in_memory * block_bytes);
    REQUIRE(add_store(f.h.rt, {at.path, 16 * mib, 0, "failing_files"}, &f.disk) == CUBBY_OK);
    f.space = f.add_space("model", "stored");
    for (uint32_t i = 1; i <= count; ++i) REQUIRE(put(f, i, content_of(i)) == CUBBY_OK);
    REQUIRE(cubby_drain(f.h.rt, 10'000'000'000) == CUBBY_OK);
    injected.how_much = extent::reads;
  }
  cubby_status get_block(uint32_t number) {
    std::string bytes(block_bytes, 'x');
    const cubby_status status = get(f, number, bytes);
    CHECK(bytes == (status == CUBBY_OK ? content_of(number) : std::string(block_bytes, 'x')));
    return status;
  }
  /// Past the tiers of memory. The bytes are looked at where it succeeds.
  cubby_status get_past_memory(uint32_t number) {
    std::string bytes(block_bytes, 'x');
    const cubby_status status = cubby_wait(f.h.rt, begin_get(number, bytes), -1);
    if (status == CUBBY_OK) CHECK(bytes == content_of(number));
    return status;
  }
  cubby_ticket begin_get(uint32_t number, std::string &into) const {
    const block_item one(f.space, key_of(number), {}, {plain(into.data(), into.size())});
    cubby_how how{};
    how.struct_size = sizeof how;
    how.flags = CUBBY_BYPASS;
    cubby_ticket ticket = 0;
    CHECK(cubby_get(f.h.rt, &one.item, 1, &how, &ticket) == CUBBY_PENDING);
    return ticket;
  }
  [[nodiscard]] cubby_status drop(uint32_t number) const {
    const block_item one(f.space, key_of(number), {}, {});
    return cubby_drop(f.h.rt, &one.item, 1, 0);
  }
  [[nodiscard]] uint64_t reads() const { return f.h.stats(f.disk).read_count; }
  [[nodiscard]] uint32_t health() const { return f.h.stats(f.disk).health; }
  [[nodiscard]] uint8_t state_of(uint32_t number) const {
    std::vector<uint8_t> states;
    match(f, {number}, &states);
    return states[0];
  }
  [[nodiscard]] std::vector<uint32_t> blocks_in(uint8_t state) const {
    std::vector<uint32_t> found;
    for (uint32_t i = 1; i <= count; ++i) {
      if (state_of(i) == state) found.push_back(i);
    }
    return found;
  }
  [[nodiscard]] bool logged(const std::string &what) const {
    std::string all;
    cubby_log_line line{};
    while (cubby_log_take(f.h.rt, &line, 1) == 1) all += std::string(line.text) + "\n";
    return all.find(what) != std::string::npos;
  }
};

void rest() {
  std::this_thread::sleep_for(std::chrono::nanoseconds(failed_reads::pause_ns) * 11 / 10);
}

}  // namespace

TEST_CASE("a block that cannot be read is not tried again at once, and a put stores it anew") {
  failing_store s;
  const auto below = s.blocks_in(CUBBY_STATE_FILE);
  REQUIRE(below.size() >= 8);
  s.injected.what = fault::eio;
  const uint64_t before = s.reads();
  CHECK(s.get_block(below[0]) == CUBBY_ERR_IO);
  CHECK(s.health() == 1);
  CHECK(s.state_of(below[0]) == CUBBY_STATE_MISS);  // a match does not offer it
  const uint64_t tried = s.reads();
  CHECK(tried > before);
  CHECK(s.get_block(below[0]) == CUBBY_ERR_IO);
  CHECK(explain().find("not asked again at once") != std::string::npos);
  CHECK(s.reads() == tried);
  // Others are served: the disk may have one bad place.
  s.injected.what = fault::none;
  CHECK(s.get_block(below[1]) == CUBBY_OK);
  CHECK(s.health() == 0);
  CHECK(s.get_block(below[0]) == CUBBY_ERR_IO);
  REQUIRE(put(s.f, below[0], content_of(below[0])) == CUBBY_OK);
  CHECK(s.state_of(below[0]) == CUBBY_STATE_HOST);
  CHECK(s.get_block(below[0]) == CUBBY_OK);
  REQUIRE(cubby_drain(s.f.h.rt, 10'000'000'000) == CUBBY_OK);
  // From the store, too, once memory has given it up.
  for (uint32_t i = 100; i < 116; ++i) REQUIRE(put(s.f, i, content_of(i)) == CUBBY_OK);
  CHECK(s.get_block(below[0]) == CUBBY_OK);
}

TEST_CASE("a block that could not be read is tried again after a while") {
  failing_store s;
  const auto below = s.blocks_in(CUBBY_STATE_FILE);
  s.injected.what = fault::eio;
  CHECK(s.get_block(below[0]) == CUBBY_ERR_IO);
  s.injected.what = fault::none;
  rest();
  CHECK(s.state_of(below[0]) == CUBBY_STATE_FILE);
  CHECK(s.get_block(below[0]) == CUBBY_OK);
  CHECK(s.health() == 0);
}

TEST_CASE("a disk that fails block after block is bypassed, probed, and used again") {
  failing_store s;
  const auto below = s.blocks_in(CUBBY_STATE_FILE), above = s.blocks_in(CUBBY_STATE_HOST);
  REQUIRE(below.size() > failed_reads::failures_max + 2);
  REQUIRE(above.size() >= 4);
  s.injected.what = fault::eio;
  for (uint32_t i = 0; i < failed_reads::failures_max; ++i) {
    CHECK(s.get_block(below[i]) == CUBBY_ERR_IO);
  }
  CHECK(s.health() == 3);
  CHECK(s.logged("is bypassed"));
  const uint64_t tried = s.reads();
  for (const uint32_t number : below) CHECK(s.get_block(number) == CUBBY_ERR_DEVICE);
  CHECK(s.reads() == tried);
  // Memory goes on: what was tried in vain has taken the room of a few, the rest of none.
  uint32_t served = 0;
  for (const uint32_t number : above) served += s.get_block(number) == CUBBY_OK ? 1u : 0u;
  CHECK(served >= above.size() - failed_reads::failures_max);
  // A probe that fails leaves it bypassed.
  rest();
  CHECK(s.get_block(below[5]) == CUBBY_ERR_IO);
  CHECK(s.reads() > tried);
  CHECK(s.health() == 3);
  s.injected.what = fault::none;
  CHECK(s.get_block(below[5]) == CUBBY_ERR_DEVICE);
  rest();
  rest();
  CHECK(s.get_block(below[5]) == CUBBY_OK);
  CHECK(s.health() == 0);
  CHECK(s.logged("is read again"));
  rest();
  for (const uint32_t number : below) CHECK(s.get_block(number) == CUBBY_OK);
}

TEST_CASE("a match passes over what a bypassed disk has refused, for a while") {
  failing_store s;
  const auto below = s.blocks_in(CUBBY_STATE_FILE);
  REQUIRE(below.size() > failed_reads::failures_max + 1);
  s.injected.what = fault::eio;
  for (uint32_t i = 0; i < failed_reads::failures_max; ++i) {
    CHECK(s.get_block(below[i]) == CUBBY_ERR_IO);
  }
  const uint32_t refused = below[failed_reads::failures_max];
  CHECK(s.state_of(refused) == CUBBY_STATE_FILE);
  CHECK(s.get_block(refused) == CUBBY_ERR_DEVICE);
  CHECK(s.state_of(refused) == CUBBY_STATE_MISS);
  CHECK(s.state_of(below[failed_reads::failures_max + 1]) == CUBBY_STATE_FILE);
  rest();
  CHECK(s.state_of(refused) == CUBBY_STATE_FILE);
}

TEST_CASE("a block of which one piece can be read and another cannot is one that cannot be read") {
  constexpr uint64_t large_bytes = 2 * mib;
  constexpr uint32_t large_count = 8;
  failing::faults injected;
  const store_directory at;
  block_fixture f(CUBBY_PUMP_CALLER, 16, 0, {}, large_bytes);
  const auto *ops = failing::wrapped<cubby_threadpool_backend>("failing_files");
  REQUIRE(cubby::api::register_backend(f.h.rt, ops, &injected) == CUBBY_OK);
  f.host = f.h.tier("host:0", 0, 2 * large_bytes);
  REQUIRE(add_store(f.h.rt, {at.path, 32 * mib, 0, "failing_files"}, &f.disk) == CUBBY_OK);
  f.space = f.add_space("model", "stored");
  for (uint32_t i = 1; i <= large_count; ++i) {
    REQUIRE(put(f, i, content_of(i, large_bytes), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  injected.how_much = extent::one_part;
  std::vector<uint8_t> states;
  uint32_t tried = 0;
  for (uint32_t i = 1; i <= large_count && tried < failed_reads::failures_max; ++i) {
    match(f, {i}, &states);
    if (states[0] != CUBBY_STATE_FILE) continue;
    ++tried;
    CAPTURE(i);
    std::string bytes(large_bytes, 'x');
    const bool last = i % 2 == 0;  // its first piece fails, or its last
    injected.at_bytes = at.offset_of(content_of(i, large_bytes)) + (last ? large_bytes - 1 : 0);
    injected.what = fault::eio;
    CHECK(get(f, i, bytes) == CUBBY_ERR_IO);
    injected.what = fault::none;
    match(f, {i}, &states);
    CHECK(states[0] == CUBBY_STATE_MISS);
  }
  REQUIRE(tried == failed_reads::failures_max);
  CHECK(f.h.stats(f.disk).health == 3);
}

TEST_CASE("what cannot be read past memory is read again by way of it, and then is an error") {
  failing_store s;
  const auto below = s.blocks_in(CUBBY_STATE_FILE);
  REQUIRE(below.size() >= 5);
  for (const auto &[number, what] :
       {std::pair(below[3], fault::eio), std::pair(below[4], fault::short_)}) {
    s.injected.what = what;
    s.injected.hit_count = 0;
    s.injected.times = 1;
    CHECK(s.get_past_memory(number) == CUBBY_OK);
    CHECK(s.injected.hit_count == 1);
  }
  s.injected.what = fault::eio;
  s.injected.times = ~0u;
  CHECK(s.get_past_memory(below[1]) == CUBBY_ERR_IO);
  CHECK(s.health() != 0);
  s.injected.what = fault::none;
  rest();
  CHECK(s.get_past_memory(below[1]) == CUBBY_OK);
  CHECK(s.get_past_memory(below[2]) == CUBBY_OK);
  CHECK(s.health() == 0);
}

TEST_CASE("a block that is read past memory stays in its store meanwhile") {
  failing_store s;
  const auto below = s.blocks_in(CUBBY_STATE_FILE);
  s.injected.what = fault::held;
  std::string bytes(block_bytes, 'x');
  const cubby_ticket ticket = s.begin_get(below[0], bytes);
  REQUIRE(s.injected.hit_count == 1);
  CHECK(s.drop(below[0]) == CUBBY_ERR_BUSY);
  CHECK(s.drop(below[1]) == CUBBY_OK);
  CHECK(cubby_bank_remove(s.f.h.rt, s.f.bank) == CUBBY_ERR_BUSY);
  // What is begun is not withdrawn: a device may still write there.
  CHECK(cubby_cancel(s.f.h.rt, ticket) == CUBBY_OK);
  CHECK(cubby_wait(s.f.h.rt, ticket, 1'000'000) == CUBBY_ERR_TIMEOUT);
  s.injected.what = fault::none;
  s.injected.release = true;
  CHECK(cubby_wait(s.f.h.rt, ticket, -1) == CUBBY_OK);
  CHECK(bytes == content_of(below[0]));
  CHECK(s.drop(below[0]) == CUBBY_OK);
}

TEST_CASE("a damaged block that is still read counts as damaged when a put cannot replace it") {
  failing_store s;
  const uint32_t number = s.blocks_in(CUBBY_STATE_FILE).front();
  s.at.damage(content_of(number), 1000, 1);
  s.injected.what = fault::held;
  s.injected.times = 1;
  std::string held(block_bytes, 'x');
  const cubby_ticket ticket = s.begin_get(number, held);
  uint64_t next = 0;
  while (s.injected.hit_count == 0) REQUIRE(cubby_poll(s.f.h.rt, 0, &next) == CUBBY_OK);
  CHECK(s.get_block(number) == CUBBY_ERR_CORRUPT);
  CHECK(put(s.f, number, content_of(number), {}, 0, CUBBY_KEEP_DURABLE) == CUBBY_ERR_BUSY);
  CHECK(put(s.f, number, content_of(number)) == CUBBY_ERR_BUSY);  // not known: it is damaged
  s.injected.release = true;
  CHECK(cubby_wait(s.f.h.rt, ticket, -1) == CUBBY_ERR_CORRUPT);
  REQUIRE(cubby_drain(s.f.h.rt, 10'000'000'000) == CUBBY_OK);
  CHECK(match(s.f, {number}) == 0);
  CHECK(put(s.f, number, content_of(number)) == CUBBY_OK);
  CHECK(s.get_block(number) == CUBBY_OK);
}

TEST_CASE("a store whose flush failed is read-only, is tried again, and takes blocks again") {
  failing_store s;
  const auto poll = [&] {
    uint64_t next = 0;
    for (uint32_t i = 0; i < 200; ++i) {
      REQUIRE(cubby_poll(s.f.h.rt, 0, &next) == CUBBY_OK);
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return next;
  };
  s.injected.how_much = extent::flushes;
  s.injected.what = fault::eio;
  CHECK(put(s.f, 201, content_of(201), {}, 0, CUBBY_KEEP_DURABLE) < 0);
  CHECK(s.health() == 2);
  CHECK(s.logged("read-only since a flush failed"));
  CHECK(put(s.f, 202, content_of(202), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_ERR_DEVICE);
  CHECK(explain().find("read-only") != std::string::npos);
  CHECK(match(s.f, {201}) + match(s.f, {202}) == 0);
  // Memory goes on, and what is stored is read.
  CHECK(put(s.f, 203, content_of(203)) == CUBBY_OK);
  CHECK(s.get_block(203) == CUBBY_OK);
  CHECK(s.get_block(s.blocks_in(CUBBY_STATE_FILE).front()) == CUBBY_OK);
  // A try that fails leaves it so; the next comes later.
  CHECK(poll() != ~uint64_t{0});
  // A space that is added now is stored once the store takes blocks again.
  const cubby_space late = s.f.add_space("model", "late");
  CHECK(put(s.f, 1, content_of(301), {}, late) == CUBBY_OK);
  CHECK(put(s.f, 2, content_of(302), {}, late, CUBBY_KEEP_RESTART) == CUBBY_ERR_DEVICE);
  const cubby_space unused = s.f.add_space("model", "unused");
  REQUIRE(cubby_space_remove(s.f.h.rt, unused) == CUBBY_OK);
  // What the store has of a space is read meanwhile.
  REQUIRE(cubby_space_remove(s.f.h.rt, s.f.space) == CUBBY_OK);
  s.f.space = s.f.add_space("model", "stored");
  CHECK(put(s.f, 204, content_of(204)) == CUBBY_OK);
  CHECK(s.f.space != late);
  rest();
  poll();
  CHECK(s.health() == 2);
  s.injected.what = fault::none;
  rest();
  rest();
  poll();
  CHECK(s.health() == 0);
  CHECK(s.logged("takes blocks again"));
  REQUIRE(put(s.f, 201, content_of(201), {}, 0, CUBBY_KEEP_DURABLE) == CUBBY_OK);
  CHECK(s.get_block(201) == CUBBY_OK);
  const cubby_status stored = put(s.f, 2, content_of(302), {}, late, CUBBY_KEEP_RESTART);
  INFO(explain());
  CHECK(stored == CUBBY_OK);
  REQUIRE(cubby_space_remove(s.f.h.rt, late) == CUBBY_OK);
  const cubby_space again = s.f.add_space("model", "late");
  std::string bytes(block_bytes, 'x');
  CHECK(get(s.f, 2, bytes, again) == CUBBY_OK);
  CHECK(bytes == content_of(302));
}

TEST_CASE("a block whose replacement could not be stored is found as it was") {
  failing_store s;
  REQUIRE(put(s.f, 201, content_of(201), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  REQUIRE(put(s.f, 202, content_of(202), key_of(201), 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  s.injected.how_much = extent::flushes;
  s.injected.what = fault::eio;
  CHECK(put(s.f, 202, content_of(202), key_of(201), 0, CUBBY_KEEP_DURABLE) < 0);
  CHECK(match(s.f, {201, 202}) == 2);
  CHECK(s.get_block(202) == CUBBY_OK);
}

TEST_CASE("a replacement that is not written, for the store is read-only, leaves the old block") {
  failing_store s;
  REQUIRE(put(s.f, 201, content_of(201), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  const std::string name = key_of(201);
  cubby_item item{};
  item.space = s.f.space;
  item.key = as_key(name);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = CUBBY_KEEP_DURABLE;
  cubby_pins pins = 0;
  void *addr = nullptr;
  REQUIRE(cubby_reserve(s.f.h.rt, &item, 1, s.f.host, &how, &pins, &addr, nullptr) == CUBBY_OK);
  REQUIRE(addr != nullptr);
  s.injected.how_much = extent::flushes;
  s.injected.what = fault::eio;
  CHECK(put(s.f, 202, content_of(202), {}, 0, CUBBY_KEEP_DURABLE) < 0);
  CHECK(cubby_commit(s.f.h.rt, pins, 0, 0, 1, nullptr, nullptr) == CUBBY_ERR_DEVICE);
  CHECK(s.get_block(201) == CUBBY_OK);
}

TEST_CASE("an unreadable block whose replacement could not be stored is not taken for a good one") {
  failing_store s;
  const uint32_t number = s.blocks_in(CUBBY_STATE_FILE).front();
  s.injected.how_much = extent::everything;
  s.injected.what = fault::eio;
  CHECK(s.get_block(number) == CUBBY_ERR_IO);
  CHECK(put(s.f, number, content_of(number), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_ERR_IO);
  s.injected.how_much = extent::reads;
  CHECK(put(s.f, number, content_of(number)) == CUBBY_OK);
  CHECK(s.get_block(number) == CUBBY_OK);
}

TEST_CASE("a block that is being written to its store is not dropped from there") {
  failing_store s;
  s.injected.how_much = extent::everything;
  s.injected.what = fault::held;
  REQUIRE(put(s.f, 201, content_of(201)) == CUBBY_OK);
  const block_item one(s.f.space, key_of(201), {}, {});
  const auto drop = [&] { return cubby_drop(s.f.h.rt, &one.item, 1, s.f.disk); };
  CHECK(drop() == CUBBY_ERR_BUSY);
  s.injected.what = fault::none;
  s.injected.release = true;
  REQUIRE(cubby_drain(s.f.h.rt, 10'000'000'000) == CUBBY_OK);
  CHECK(drop() == CUBBY_OK);
  CHECK(s.get_block(201) == CUBBY_OK);
}
