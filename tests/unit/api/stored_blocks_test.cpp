// KV blocks on disk: what outlives memory and the process, and what does not.
#include <sys/wait.h>

#include <array>
#include <csignal>
#include <deque>
#include <thread>

#include "unit/api/block_fixture.hpp"

namespace stored_blocks_test {

using namespace api_test;

TEST_CASE("blocks that outlive the process are found in its next life, and others are not") {
  const store_directory there;
  const uint32_t pump = GENERATE(0u, 1u);
  const uint32_t parts = GENERATE(0u, 3u);
  const uint8_t keep = GENERATE(uint8_t{CUBBY_KEEP_RESTART}, uint8_t{CUBBY_KEEP_DURABLE});
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  {
    block_fixture f(pump, 64, parts, tiers);
    put_chain(f, 20, keep);
    REQUIRE(put(f, 50, content_of(50)) == CUBBY_OK);
    REQUIRE(put(f, 51, content_of(51), {}, 0, CUBBY_KEEP_CACHE) == CUBBY_OK);
    REQUIRE(match(f, numbers_to(20)) == 20);
  }
  block_fixture f(pump, 64, parts, tiers);
  std::vector<uint8_t> states;
  CHECK(match(f, numbers_to(20), &states) == 20);
  CHECK(states == std::vector<uint8_t>(20, CUBBY_STATE_FILE));
  CHECK(match(f, {50}) == 0);
  CHECK(match(f, {51}) == 0);
  for (const uint32_t number : numbers_to(20)) check_bytes(f, number);
  CHECK(match(f, numbers_to(20), &states) == 20);
  CHECK(states == std::vector<uint8_t>(20, CUBBY_STATE_HOST));
  CHECK(f.h.stats(f.disk).corrupt_count == 0);
}

TEST_CASE("blocks of a call are written by large I/Os, in whatever order their frames come") {
  const store_directory there;
  constexpr uint32_t together = 16;  // 1 MiB
  block_fixture f(1, 128, 0, {there.path, 32 * mib, 2 * mib});
  uint32_t number = 0;
  uint64_t least_writes = ~uint64_t{0};
  for (uint32_t call = 0; call < 6; ++call) {  // memory holds two of them
    std::deque<std::string> contents;
    std::deque<block_item> blocks;
    std::vector<cubby_item> items;
    for (uint32_t i = 0; i < together; ++i) {
      contents.push_back(content_of(++number));
      blocks.emplace_back(f.space, key_of(number), std::string(),
                          std::vector{plain(contents.back().data(), block_bytes)});
      items.push_back(blocks.back().item);
    }
    cubby_how how{};
    how.struct_size = sizeof how;
    how.keep = CUBBY_KEEP_RESTART;
    const uint64_t before = f.h.stats(f.disk).write_count;
    REQUIRE(cubby_put(f.h.rt, items.data(), together, &how, nullptr) == CUBBY_OK);
    const uint64_t writes = f.h.stats(f.disk).write_count - before;
    if (call >= 3) least_writes = std::min(least_writes, writes);
    CHECK((call < 3 || writes <= together / 2));  // with their records
  }
  CHECK(least_writes >= 2);
  for (uint32_t i = 1; i <= number; ++i) check_bytes(f, i);
}

TEST_CASE("a process that is killed leaves what was acknowledged") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    block_fixture f(0, 64, 0, tiers);
    for (uint32_t i = 1;; ++i) {
      const cubby_status status =
          put(f, i, content_of(i), i == 1 ? std::string() : key_of(i - 1), 0, CUBBY_KEEP_RESTART);
      if (status != CUBBY_OK || ::write(ends[1], &i, sizeof i) != sizeof i) ::_exit(1);
      if (i == 40) ::pause();
    }
  }
  ::close(ends[1]);
  uint32_t acknowledged = 0;
  while (acknowledged < 17 && ::read(ends[0], &acknowledged, sizeof acknowledged) > 0) {
  }
  ::kill(child, SIGKILL);
  uint32_t more = 0;
  while (::read(ends[0], &more, sizeof more) > 0) acknowledged = more;
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  REQUIRE(WIFSIGNALED(status));
  REQUIRE(acknowledged >= 17);
  block_fixture f(0, 64, 0, tiers);
  CHECK(match(f, numbers_to(acknowledged)) == acknowledged);
  for (const uint32_t number : numbers_to(acknowledged)) check_bytes(f, number);
}

TEST_CASE("a store that was made before its bank says where it has too few numbers for it") {
  // Of 16 MiB it has numbers for 320 blocks, which of 4 KiB fill 1.25.
  const auto warnings = [](const block_fixture &f) {
    uint32_t count = 0;
    cubby_log_line line{};
    while (cubby_log_take(f.h.rt, &line, 1) == 1) {
      const std::string text = line.text;
      if (text.find("numbers for 320 blocks, which of bank ") == std::string::npos) continue;
      CHECK(line.level == 1);
      CHECK(text.find("fill 1310720 bytes") != std::string::npos);
      CHECK(text.find("add the bank before the tier") != std::string::npos);
      CHECK(text.size() < sizeof line.text - 1);  // whole
      ++count;
    }
    return count;
  };
  const store_directory there, other, third;
  {
    const block_fixture f(0, 64, 0, {there.path, 16 * mib, mib}, 4096);
    CHECK(warnings(f) == 1);
  }
  // The next process, which finds the store after its bank.
  block_fixture f(0, 64, 0, {}, 4096);
  cubby_tier made = 0;
  REQUIRE(f.add_store({there.path, 16 * mib}, &made) == CUBBY_OK);
  CHECK(warnings(f) == 1);
  // As it should be.
  block_fixture before(0, 64, 0, {}, 4096);
  REQUIRE(before.add_store({other.path, 16 * mib}, &made) == CUBBY_OK);
  CHECK(warnings(before) == 0);
  const block_fixture large(0, 64, 0, {third.path, 16 * mib, mib});
  CHECK(warnings(large) == 0);
}

TEST_CASE("what finds no room in memory is read from disk") {
  const store_directory there;
  block_fixture f(GENERATE(0u, 1u), 256, GENERATE(0u, 3u), {there.path, 64 * mib, mib});
  put_chain(f, 100, CUBBY_KEEP_SESSION);  // memory holds 16
  CHECK(match(f, numbers_to(100)) == 100);
  for (const uint32_t number : numbers_to(100)) check_bytes(f, number);
  CHECK(f.h.stats(f.disk).read_count >= 84);
  CHECK(f.h.stats(f.disk).write_back_bytes >= 84 * block_bytes);
  CHECK(f.h.stats(f.disk).write_back_bytes == f.h.stats(f.disk).bytes_in);
}

namespace {

/// Puts blocks 1 and on in one call.
cubby_status put_together(const block_fixture &f, const std::vector<std::string> &contents,
                          std::vector<int8_t> &statuses) {
  std::vector<std::unique_ptr<block_item>> named;
  std::vector<cubby_item> items;
  for (const std::string &bytes : contents) {
    const auto number = static_cast<uint32_t>(named.size() + 1);
    named.push_back(std::make_unique<block_item>(
        f.space, key_of(number), number == 1 ? std::string() : key_of(number - 1),
        std::vector<cubby_span>{plain(bytes.data(), bytes.size())}));
    items.push_back(named.back()->item);
  }
  statuses.assign(items.size(), 77);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = CUBBY_KEEP_RESTART;
  how.item_status = statuses.data();
  return cubby_put(f.h.rt, items.data(), static_cast<uint32_t>(items.size()), &how, nullptr);
}

}  // namespace

TEST_CASE("blocks of one call are stored while the call copies others, and may exceed memory") {
  const store_directory there;
  const block_tiers tiers{there.path, 64 * mib, 3 * mib};
  const uint32_t pump = GENERATE(0u, 1u);
  constexpr uint32_t count = 200;  // memory holds 48
  std::vector<std::string> contents;
  for (uint32_t i = 1; i <= count; ++i) contents.push_back(content_of(i));
  {
    block_fixture f(pump, 256, 0, tiers);
    std::vector<int8_t> statuses;
    const cubby_status status = put_together(f, contents, statuses);
    INFO(explain());
    REQUIRE(status == CUBBY_OK);
    CHECK(statuses == std::vector<int8_t>(count, CUBBY_OK));
    CHECK(match(f, numbers_to(count)) == count);
  }
  block_fixture f(pump, 256, 0, tiers);
  REQUIRE(match(f, numbers_to(count)) == count);
  for (const uint32_t number : numbers_to(count)) check_bytes(f, number);
}

TEST_CASE("a call waits for its own blocks: for one that it names twice, and for their frames") {
  const store_directory there;
  const uint8_t keep = GENERATE(uint8_t{CUBBY_KEEP_RESTART}, uint8_t{CUBBY_KEEP_DURABLE});
  constexpr uint32_t count = 40;  // memory holds 4
  block_fixture f(GENERATE(0u, 1u), 64, 0, {there.path, 32 * mib, 4 * block_bytes});
  std::vector<std::string> contents;
  for (uint32_t i = 0; i < count; ++i) contents.push_back(content_of(i / 2));
  std::deque<block_item> blocks;
  std::vector<cubby_item> items;
  for (uint32_t i = 0; i < count; ++i) {
    blocks.emplace_back(f.space, key_of(i / 2), std::string(),
                        std::vector<cubby_span>{plain(contents[i].data(), block_bytes)});
    items.push_back(blocks.back().item);
  }
  std::vector<int8_t> statuses(count, CUBBY_PENDING);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = keep;
  how.item_status = statuses.data();
  const cubby_status status = cubby_put(f.h.rt, items.data(), count, &how, nullptr);
  INFO(explain());
  REQUIRE(status == CUBBY_OK);
  CHECK(statuses == std::vector<int8_t>(count, CUBBY_OK));
  for (uint32_t i = 0; i < count / 2; ++i) check_bytes(f, i);
}

TEST_CASE("calls that put the same blocks in other orders do not wait for each other's end") {
  const store_directory there;
  block_fixture f(0, 256, 0, {there.path, 64 * mib, 8 * mib});
  constexpr uint32_t count = 8;  // less than what is written before a call is over
  std::array<cubby_status, 2> ended{};
  for (uint32_t round = 0; round < 16; ++round) {
    const auto put_all = [&](uint32_t caller) {
      std::vector<std::string> contents;
      std::deque<block_item> blocks;
      std::vector<cubby_item> items;
      for (uint32_t i = 0; i < count; ++i) {
        const uint32_t number = round * count + (caller == 0 ? i : count - 1 - i);
        contents.push_back(content_of(number));
        blocks.emplace_back(f.space, key_of(number), std::string(),
                            std::vector<cubby_span>{plain(contents[i].data(), block_bytes)});
        items.push_back(blocks.back().item);
      }
      cubby_how how{};
      how.struct_size = sizeof how;
      how.keep = CUBBY_KEEP_RESTART;
      ended[caller] = cubby_put(f.h.rt, items.data(), count, &how, nullptr);
    };
    std::thread other(put_all, 1);
    put_all(0);
    other.join();
    REQUIRE(ended[0] == CUBBY_OK);
    REQUIRE(ended[1] == CUBBY_OK);
  }
}

TEST_CASE("a block that was to live while memory lasts can be put again to outlast it") {
  const store_directory there;
  block_fixture f(GENERATE(0u, 1u), 64, 0, {there.path, 32 * mib, 4 * block_bytes});
  const auto fill_memory = [&](uint32_t from) {
    for (uint32_t i = from; i < from + 16; ++i) {
      REQUIRE(put(f, i, content_of(i), {}, 0, CUBBY_KEEP_CACHE) == CUBBY_OK);
    }
  };
  REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_CACHE) == CUBBY_OK);
  REQUIRE(put(f, 2, content_of(2), {}, 0, CUBBY_KEEP_CACHE) == CUBBY_OK);
  REQUIRE(put(f, 1, content_of(1)) == CUBBY_OK);
  REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_CACHE) == CUBBY_OK);  // no shorter for that
  REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
  fill_memory(100);
  check_bytes(f, 1);
  std::string bytes(block_bytes, 'x');
  CHECK(get(f, 2, bytes) == CUBBY_MISS);
  // Nor does a commit make it shorter.
  const block_item third(f.space, key_of(3), {}, {});
  cubby_pins pins = 0;
  void *addr = nullptr;
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = CUBBY_KEEP_CACHE;
  REQUIRE(cubby_reserve(f.h.rt, &third.item, 1, f.host, nullptr, &pins, &addr, nullptr) ==
          CUBBY_OK);
  std::memcpy(addr, content_of(3).data(), block_bytes);
  REQUIRE(cubby_commit(f.h.rt, pins, 0, 0, 1, &how, nullptr) == CUBBY_OK);
  REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
  fill_memory(200);
  check_bytes(f, 3);
}

TEST_CASE("tenants come and go: spaces that nobody has open give way in the store") {
  const store_directory there;
  const block_tiers tiers{there.path, 64 * mib, 8 * mib};
  constexpr uint32_t count = 300;  // the store has a place for 256
  const auto name = [](uint32_t tenant) { return "tenant " + std::to_string(tenant); };
  {
    block_fixture f(GENERATE(0u, 1u), 1024, 0, tiers);
    const cubby_space precious = f.add_space("model", "precious");
    REQUIRE(put(f, 1, content_of(1), {}, precious, CUBBY_KEEP_DURABLE) == CUBBY_OK);
    REQUIRE(cubby_space_remove(f.h.rt, precious) == CUBBY_OK);
    REQUIRE(put(f, 7, content_of(7), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);  // is open all along
    for (uint32_t tenant = 0; tenant < count; ++tenant) {
      const cubby_space space = f.add_space("model", name(tenant));
      cubby_status status = CUBBY_ERR_BUSY;
      for (uint32_t tries = 0; status == CUBBY_ERR_BUSY && tries < 1000; ++tries) {
        status = put(f, 1000 + tenant, content_of(tenant), {}, space, CUBBY_KEEP_RESTART);
        if (status != CUBBY_OK) static_cast<void>(cubby_drain(f.h.rt, 10'000'000));
      }
      INFO(tenant << ": " << explain());
      REQUIRE(status == CUBBY_OK);
      REQUIRE(cubby_space_remove(f.h.rt, space) == CUBBY_OK);
    }
  }
  block_fixture f(0, 1024, 0, tiers);
  check_bytes(f, 7);
  CHECK(match(f, {1}, nullptr, f.add_space("model", "precious")) == 1);
  const cubby_space last = f.add_space("model", name(count - 1));
  CHECK(match(f, {1000 + count - 1}, nullptr, last) == 1);
  CHECK(match(f, {1000}, nullptr, f.add_space("model", name(0))) == 0);  // the one of old
}

TEST_CASE("spaces that are all open are not given up, and the sentence says so") {
  const store_directory there;
  block_fixture f(0, 1024, 0, {there.path, 64 * mib, 8 * mib});
  std::vector<cubby_space> open;
  for (uint32_t tenant = 0; tenant < 255; ++tenant) {
    open.push_back(f.add_space("model", "tenant " + std::to_string(tenant)));
    REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
  }
  cubby_space_desc desc{};
  desc.struct_size = sizeof desc;
  desc.bank = f.bank;
  desc.domain = "one more";
  desc.domain_bytes = 8;
  cubby_space one_more = 0;
  CHECK(cubby_space_add(f.h.rt, &desc, &one_more) == CUBBY_ERR_NO_SPACE);
  CHECK(explain().find("all of them in use") != std::string::npos);
  REQUIRE(cubby_space_remove(f.h.rt, open.back()) == CUBBY_OK);
  REQUIRE(cubby_space_add(f.h.rt, &desc, &one_more) == CUBBY_OK);
  cubby_status status = CUBBY_ERR_BUSY;
  for (uint32_t tries = 0; status == CUBBY_ERR_BUSY && tries < 1000; ++tries) {
    status = put(f, 1, content_of(1), {}, one_more, CUBBY_KEEP_RESTART);
    // Nobody asks for anything else meanwhile.
    if (status != CUBBY_OK) std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  INFO(explain());
  CHECK(status == CUBBY_OK);
}

TEST_CASE("spaces that a full store has are opened again one by one, and none is given up") {
  const store_directory there;
  const block_tiers tiers{there.path, 64 * mib, 8 * mib};
  constexpr uint32_t count = 255;  // and the one that the fixture opens
  const auto name = [](uint32_t tenant) { return "tenant " + std::to_string(tenant); };
  for (const bool again : {false, true}) {
    block_fixture f(0, 1024, 0, tiers);
    for (uint32_t tenant = 0; tenant < count; ++tenant) {
      const cubby_space space = f.add_space("model", name(tenant));
      INFO(tenant << ": " << explain());
      if (again) {
        CHECK(match(f, {tenant + 1}, nullptr, space) == 1);
        REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
        continue;
      }
      const auto keep = tenant % 2 == 0 ? CUBBY_KEEP_RESTART : CUBBY_KEEP_DURABLE;
      REQUIRE(put(f, tenant + 1, content_of(tenant + 1), {}, space, keep) == CUBBY_OK);
    }
  }
}

TEST_CASE("blocks of one call do not push each other out: what finds no number is busy") {
  const store_directory there;
  constexpr uint32_t columns = 256, count = 300;
  block_fixture f(GENERATE(0u, 1u), columns, 0, {there.path, 64 * mib, 3 * mib});
  // Those of an earlier call go.
  for (uint32_t i = 1001; i <= 1008; ++i) {
    REQUIRE(put(f, i, content_of(i), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  std::vector<std::string> contents;
  for (uint32_t i = 1; i <= count; ++i) contents.push_back(content_of(i));
  std::vector<int8_t> statuses, expected(count, CUBBY_ERR_BUSY);
  std::fill_n(expected.begin(), columns, int8_t{CUBBY_OK});
  CHECK(put_together(f, contents, statuses) == CUBBY_PARTIAL);
  CHECK(statuses == expected);
  CHECK(match(f, numbers_to(count)) == columns);
  // Once the call is over they may go like others.
  CHECK(put(f, 2000, content_of(2000), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  CHECK(match(f, {2000}) == 1);
}

TEST_CASE("a store that is full gives up what was not used, leaves first") {
  const store_directory there;
  block_fixture f(0, 1024, 0, {there.path, 16 * mib, 2 * mib});
  put_chain(f, 16, CUBBY_KEEP_RESTART);
  const uint64_t file_bytes = std::filesystem::file_size(there.file());
  for (uint32_t i = 100; i < 600; ++i) {
    const cubby_status status = put(f, i, content_of(i), {}, 0, CUBBY_KEEP_RESTART);
    INFO(i << ": " << explain());
    REQUIRE(status == CUBBY_OK);
    if (i % 5 == 0) check_bytes(f, 1);
  }
  CHECK(std::filesystem::file_size(there.file()) == file_bytes);
  check_bytes(f, 1);
  CHECK(match(f, {1}) == 1);
  uint32_t there_count = 0;
  std::string bytes(block_bytes, 'x');
  for (uint32_t i = 100; i < 600; ++i) {
    const cubby_status status = get(f, i, bytes);
    REQUIRE((status == CUBBY_OK || status == CUBBY_MISS));
    if (status != CUBBY_OK) continue;
    ++there_count;
    REQUIRE(bytes == content_of(i));
  }
  CHECK(there_count > 150);
  CHECK(there_count < 260);
}

TEST_CASE("a bank without a free number gives up blocks on disk") {
  const store_directory there;
  block_fixture f(0, 32, 0, {there.path, 32 * mib, mib});
  for (uint32_t i = 1; i <= 100; ++i) {
    const cubby_status status = put(f, i, content_of(i), {}, 0, CUBBY_KEEP_RESTART);
    INFO(i << ": " << explain());
    REQUIRE(status == CUBBY_OK);
  }
  check_bytes(f, 100);
}

TEST_CASE("damaged bytes are not delivered, and their block is given up") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  {
    block_fixture f(0, 64, 0, tiers);
    put_chain(f, 4, CUBBY_KEEP_RESTART);
  }
  there.damage(content_of(3), 5000, 1);
  block_fixture f(0, 64, 0, tiers);
  REQUIRE(match(f, numbers_to(4)) == 4);
  std::string bytes(block_bytes, 'x');
  CHECK(get(f, 3, bytes) == CUBBY_ERR_CORRUPT);
  CHECK(explain().find("put it again") != std::string::npos);
  CHECK(bytes == std::string(block_bytes, 'x'));
  REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
  CHECK(match(f, numbers_to(4)) == 2);
  for (const uint32_t number : {1u, 2u, 4u}) check_bytes(f, number);
  REQUIRE(put(f, 3, content_of(3), key_of(2), 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  CHECK(match(f, numbers_to(4)) == 4);
  check_bytes(f, 3);
}

TEST_CASE("children whose parent is not stored wait for it over a restart") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  {
    block_fixture f(0, 64, 0, tiers);
    REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_SESSION) == CUBBY_OK);
    REQUIRE(put(f, 2, content_of(2), key_of(1), 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
    REQUIRE(put(f, 3, content_of(3), key_of(2), 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  block_fixture f(0, 64, 0, tiers);
  std::vector<uint8_t> states;
  CHECK(match(f, numbers_to(3), &states) == 0);
  CHECK(states[1] == CUBBY_STATE_FILE);
  CHECK(match(f, {2, 3}) == 0);  // 2 is no root
  check_bytes(f, 2);
  REQUIRE(put(f, 1, content_of(1)) == CUBBY_OK);
  CHECK(match(f, numbers_to(3)) == 3);
  check_bytes(f, 3);
}

TEST_CASE("a child that a lease holds is linked to its parent after a restart, too") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  {
    block_fixture f(0, 64, 0, tiers);
    REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_SESSION) == CUBBY_OK);
    REQUIRE(put(f, 2, content_of(2), key_of(1), 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  block_fixture f(0, 64, 0, tiers);
  const std::string name = key_of(2);
  const cubby_key child = as_key(name);
  cubby_pins lease = 0;
  REQUIRE(cubby_lease(f.h.rt, f.space, &child, 1, 0, &lease) == CUBBY_OK);
  const cubby_status known = put(f, 2, content_of(2), key_of(1), 0, CUBBY_KEEP_RESTART);
  INFO(explain());
  CHECK(known == CUBBY_OK);
  REQUIRE(put(f, 1, content_of(1)) == CUBBY_OK);
  CHECK(match(f, numbers_to(2)) == 2);
  CHECK(put(f, 2, content_of(2), key_of(9)) == CUBBY_ERR_INVALID);
  CHECK(cubby_lease_end(f.h.rt, lease, 0, 0) == CUBBY_OK);
  check_bytes(f, 2);
}

TEST_CASE("a block put for the session can be put again to outlive it") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  {
    block_fixture f(0, 64, 0, tiers);
    REQUIRE(put(f, 1, content_of(1)) == CUBBY_OK);
    REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
    REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
    REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_DURABLE) == CUBBY_OK);
  }
  block_fixture f(0, 64, 0, tiers);
  CHECK(match(f, {1}) == 1);
  check_bytes(f, 1);
}

TEST_CASE("dropped blocks stay away; a space that is removed keeps what outlives the process") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  {
    block_fixture f(0, 64, 0, tiers);
    put_chain(f, 4, CUBBY_KEEP_RESTART);
    REQUIRE(put(f, 9, content_of(9)) == CUBBY_OK);
    const block_item one(f.space, key_of(4), {}, {});
    REQUIRE(cubby_drop(f.h.rt, &one.item, 1, 0) == CUBBY_OK);
    REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
    REQUIRE(cubby_space_remove(f.h.rt, f.space) == CUBBY_OK);
    f.space = f.add_space("model", "tenant");
    CHECK(match(f, numbers_to(4)) == 3);
    CHECK(match(f, {9}) == 0);
    check_bytes(f, 3);
  }
  block_fixture f(0, 64, 0, tiers);
  CHECK(match(f, numbers_to(4)) == 3);
  CHECK(match(f, numbers_to(4), nullptr, f.add_space("model", "other")) == 0);
  CHECK(match(f, numbers_to(4), nullptr, f.add_space("other", "tenant")) == 0);
}

TEST_CASE("a batch of what is in memory, on disk and nowhere; into pieces of the caller's") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  const uint32_t pump = GENERATE(0u, 1u);
  {
    block_fixture f(pump, 64, 0, tiers);
    put_chain(f, 8, CUBBY_KEEP_RESTART);
  }
  block_fixture f(pump, 64, 0, tiers);
  check_bytes(f, 2);
  constexpr uint64_t layers = 8, piece = block_bytes / layers, stride = 3 * piece;
  std::string tensor(layers * stride, '#');
  cubby_region_desc desc{};
  desc.struct_size = sizeof desc;
  desc.base = tensor.data();
  desc.stride_bytes = stride;
  desc.piece_bytes = piece;
  desc.piece_count = layers;
  cubby_region region = 0;
  REQUIRE(cubby_region_add(f.h.rt, &desc, &region) == CUBBY_OK);
  std::string second(block_bytes, 'x'), third(1000, 'y'), fourth(10, 'z');
  const block_item one(f.space, key_of(1), {}, {{region, 0, 0, block_bytes}});
  const block_item two(f.space, key_of(2), {}, {plain(second.data(), second.size())});
  block_item three(f.space, key_of(3), {}, {plain(third.data(), third.size())});
  three.item.at_bytes = 4321;
  const block_item none(f.space, key_of(77), {}, {plain(fourth.data(), fourth.size())});
  const cubby_item items[] = {one.item, two.item, three.item, none.item};
  int8_t status[4] = {1, 1, 1, 1};
  cubby_how how{};
  how.struct_size = sizeof how;
  how.item_status = status;
  cubby_ticket ticket = 0;
  REQUIRE(cubby_get(f.h.rt, items, 4, &how, &ticket) == CUBBY_PENDING);
  CHECK(cubby_wait(f.h.rt, ticket, -1) == CUBBY_PARTIAL);
  CHECK(std::vector<int>(status, status + 4) ==
        std::vector<int>{CUBBY_OK, CUBBY_OK, CUBBY_OK, CUBBY_MISS});
  for (uint64_t i = 0; i < layers; ++i) {
    CHECK(tensor.compare(i * stride, piece, content_of(1), i * piece, piece) == 0);
    CHECK(tensor.find_first_not_of('#', i * stride + piece) ==
          std::min<size_t>(i + 1 == layers ? std::string::npos : (i + 1) * stride,
                           std::string::npos));
  }
  CHECK(second == content_of(2));
  CHECK(third == content_of(3).substr(4321, 1000));
  CHECK(fourth == std::string(10, 'z'));
  CHECK(cubby_region_remove(f.h.rt, region) == CUBBY_OK);
  how.flags = CUBBY_NO_WAIT;
  CHECK(cubby_get(f.h.rt, &none.item, 1, &how, nullptr) == CUBBY_MISS);
}

TEST_CASE("completions of puts and gets go to a queue") {
  const store_directory there;
  block_fixture f(0, 64, 0, {there.path, 32 * mib, mib});
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(f.h.rt, 4, &queue) == CUBBY_OK);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.keep = CUBBY_KEEP_DURABLE;
  how.cq = queue;
  how.user = 42;
  const std::string bytes = content_of(1);
  const block_item one(f.space, key_of(1), {}, {plain(bytes.data(), bytes.size())});
  REQUIRE(cubby_put(f.h.rt, &one.item, 1, &how, nullptr) == CUBBY_PENDING);
  REQUIRE(cubby_cq_wait(queue, -1) == CUBBY_OK);
  cubby_done done{};
  REQUIRE(cubby_cq_take(queue, &done, 1) == 1);
  CHECK(done.user == 42);
  CHECK(done.status == CUBBY_OK);
  CHECK(done.ok_count == 1);
  CHECK(cubby_put(f.h.rt, &one.item, 1, &how, nullptr) == CUBBY_OK);  // known: nothing to wait for
  CHECK(cubby_cq_take(queue, &done, 1) == 0);
  REQUIRE(cubby_cq_remove(queue) == CUBBY_OK);
}

TEST_CASE("blocks shorter than their locker keep their length") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  const uint32_t parts = GENERATE(0u, 3u);
  const std::vector<uint64_t> lengths = {1, 511, 4096, 40 << 10, (40 << 10) + 3, 61441};
  {
    block_fixture f(0, 64, parts, tiers);
    for (uint32_t i = 0; i < lengths.size(); ++i) {
      REQUIRE(put(f, i, content_of(i).substr(0, lengths[i]), {}, 0, CUBBY_KEEP_RESTART) ==
              CUBBY_OK);
    }
  }
  block_fixture f(0, 64, parts, tiers);
  for (uint32_t i = 0; i < lengths.size(); ++i) {
    std::string bytes(lengths[i], 'x');
    REQUIRE(get(f, i, bytes) == CUBBY_OK);
    CHECK(bytes == content_of(i).substr(0, lengths[i]));
    std::string longer(lengths[i] + 1, 'x');
    CHECK(get(f, i, longer) == CUBBY_ERR_INVALID);
  }
}

TEST_CASE("a store belongs to one process, and says to whom") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  block_fixture f(0, 64, 0, tiers);
  block_fixture other(0, 64);
  cubby_tier made = 0;
  CHECK(other.add_store(tiers, &made) == CUBBY_ERR_IN_USE);
  CHECK(explain().find("this process") != std::string::npos);
}

TEST_CASE("what cannot be stored is refused with a remedy") {
  const store_directory there;
  SECTION("there is no store") {
    block_fixture f(0, 64);
    f.h.tier("host:0", 0, 4 * mib);
    CHECK(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_ERR_NOT_SUPPORTED);
    CHECK(explain().find("budget_bytes") != std::string::npos);
    CHECK(put(f, 1, content_of(1)) == CUBBY_OK);
  }
  SECTION("the budget is too small") {
    block_fixture f(0, 64);
    cubby_tier made = 0;
    CHECK(f.add_store({there.path, 4096, 0}, &made) < 0);
    CHECK(std::filesystem::is_empty(there.path));
  }
  SECTION("a fingerprint that is too long") {
    block_fixture f(0, 64, 0, {there.path, 32 * mib, 8 * mib});
    const std::string text(100, 'f');
    cubby_space_desc desc{};
    desc.struct_size = sizeof desc;
    desc.bank = f.bank;
    desc.fingerprint = text.data();
    desc.fingerprint_bytes = 100;
    cubby_space made = 0;
    CHECK(cubby_space_add(f.h.rt, &desc, &made) == CUBBY_ERR_INVALID);
    CHECK(explain().find("digest") != std::string::npos);
  }
  SECTION("a keep that is none") {
    block_fixture f(0, 64, 0, {there.path, 32 * mib, 8 * mib});
    CHECK(put(f, 1, content_of(1), {}, 0, 4) == CUBBY_ERR_INVALID);
  }
}

TEST_CASE("many threads put, get and drop over a small memory: right bytes or a miss") {
  const store_directory there;
  block_fixture f(0, 200, 0, {there.path, 8 * mib, mib});
  std::atomic<uint32_t> wrong{0}, failed{0};
  std::vector<std::thread> threads;
  for (uint32_t t = 0; t < 3; ++t) {
    threads.emplace_back([&, t] {
      cubby::base::prng random(t + 1);
      std::string bytes(block_bytes, 'x');
      for (uint32_t i = 0; i < 400; ++i) {
        const auto number = static_cast<uint32_t>(random.next() % 300);
        cubby_status status = CUBBY_OK;
        if (i % 3 == 0) {
          const auto keep = static_cast<uint8_t>(random.next() % 4);
          status = put(f, number, content_of(number), {}, 0, keep);
        } else if (i % 50 == 1) {
          const block_item one(f.space, key_of(number), {}, {});
          static_cast<void>(cubby_drop(f.h.rt, &one.item, 1, 0));
        } else {
          status = get(f, number, bytes);
          if (status == CUBBY_OK && bytes != content_of(number)) ++wrong;
        }
        if (status < 0 && status != CUBBY_ERR_BUSY) ++failed;
      }
    });
  }
  for (std::thread &one : threads) one.join();
  CHECK(wrong == 0);
  CHECK(failed == 0);
}

TEST_CASE("a block that is put to live longer is there whenever the process dies meanwhile") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 8 * mib};
  const pid_t child = ::fork();
  REQUIRE(child >= 0);
  if (child == 0) {
    block_fixture f(CUBBY_PUMP_CALLER, 64, 0, tiers);
    if (put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_RESTART) != CUBBY_OK) ::_exit(1);
    cubby_how how{};
    how.struct_size = sizeof how;
    how.keep = CUBBY_KEEP_DURABLE;
    const std::string bytes = content_of(1);
    const block_item one(f.space, key_of(1), {}, {plain(bytes.data(), bytes.size())});
    cubby_ticket ticket = 0;
    if (cubby_put(f.h.rt, &one.item, 1, &how, &ticket) != CUBBY_PENDING) ::_exit(2);
    ::raise(SIGKILL);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(WIFSIGNALED(status));
  block_fixture f(0, 64, 0, tiers);
  REQUIRE(match(f, {1}) == 1);
  check_bytes(f, 1);
}

}  // namespace stored_blocks_test
