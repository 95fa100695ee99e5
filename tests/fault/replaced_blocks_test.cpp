// Puts of blocks that are known and are to live longer. Until the new block is stored the old one
// stays, and where the put comes to nothing it is found again; what is refused takes no room.
#include <array>

#include "unit/api/block_fixture.hpp"

using namespace api_test;

namespace {

/// A reservation of such blocks.
struct reservation {
  std::vector<std::string> names;
  std::vector<cubby_item> items;
  std::vector<void *> addr;
  cubby_pins pins = 0;

  reservation(const block_fixture &f, const std::vector<uint32_t> &numbers) {
    for (const uint32_t number : numbers) names.push_back(key_of(number));
    for (const std::string &name : names) {
      items.emplace_back();
      items.back().space = f.space;
      items.back().key = as_key(name);
    }
    addr.resize(items.size());
  }
  cubby_status reserve(const block_fixture &f, uint8_t keep) {
    cubby_how how{};
    how.struct_size = sizeof how;
    how.keep = keep;
    return cubby_reserve(f.h.rt, items.data(), static_cast<uint32_t>(items.size()), f.host, &how,
                         &pins, addr.data(), nullptr);
  }
};

}  // namespace

TEST_CASE("a reservation that is given up, or refused, leaves the blocks that it was to replace") {
  const store_directory there;
  block_fixture f(GENERATE(0u, 1u), 64, 0, {there.path, 16 * mib, 4 * mib});
  put_chain(f, 3, CUBBY_KEEP_RESTART);
  reservation one(f, {1});
  REQUIRE(one.reserve(f, CUBBY_KEEP_DURABLE) == CUBBY_OK);
  REQUIRE(one.addr[0] != nullptr);
  REQUIRE(cubby_commit(f.h.rt, one.pins, 0, 0, 0, nullptr, nullptr) == CUBBY_OK);
  check_bytes(f, 1);
  CHECK(match(f, numbers_to(3)) == 3);

  const std::string name = key_of(3);
  const cubby_key third = as_key(name);
  cubby_pins lease = 0;
  REQUIRE(cubby_lease(f.h.rt, f.space, &third, 1, 0, &lease) == CUBBY_OK);
  reservation two(f, {2, 3});
  const std::string parents[] = {key_of(1), key_of(2)};
  const cubby_key keys[] = {as_key(parents[0]), as_key(parents[1])};
  for (size_t i = 0; i < 2; ++i) two.items[i].parent = &keys[i];
  CHECK(two.reserve(f, CUBBY_KEEP_DURABLE) == CUBBY_ERR_BUSY);
  for (const uint32_t number : numbers_to(3)) check_bytes(f, number);
  CHECK(match(f, numbers_to(3)) == 3);
}

TEST_CASE("a block that can never have a frame is refused as such, known or not") {
  const store_directory there;
  const uint32_t pump = GENERATE(0u, 1u);
  const std::string bytes = content_of(1, mib);
  {
    block_fixture f(pump, 16, 0, {there.path, 16 * mib, 4 * mib}, mib);
    REQUIRE(put(f, 1, bytes, {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  {
    block_fixture f(pump, 16, 0, {there.path, 16 * mib, 256 << 10}, mib);
    CHECK(put(f, 2, bytes, {}, 0, CUBBY_KEEP_DURABLE) == CUBBY_ERR_BUDGET);
    CHECK(put(f, 1, bytes, {}, 0, CUBBY_KEEP_DURABLE) == CUBBY_ERR_BUDGET);
    CHECK(explain().find("raise one") != std::string::npos);
    CHECK(match(f, {1}) == 1);
  }
  block_fixture f(pump, 16, 0, {there.path, 16 * mib, 0}, mib);
  CHECK(put(f, 2, bytes, {}, 0, CUBBY_KEEP_DURABLE) == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(put(f, 1, bytes, {}, 0, CUBBY_KEEP_DURABLE) == CUBBY_ERR_NOT_SUPPORTED);
  CHECK(explain().find("backend \"host\"") != std::string::npos);
  CHECK(match(f, {1}) == 1);
}

TEST_CASE("a put of fewer parts than the block has is refused before anything gives way to it") {
  const store_directory there;
  {
    block_fixture f(0, 16, 3, {there.path, 16 * mib, mib});
    REQUIRE(put(f, 1, content_of(1), {}, 0, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  block_fixture f(0, 16, 3, {there.path, 16 * mib, block_bytes});  // of one block
  REQUIRE(put(f, 2, content_of(2)) == CUBBY_OK);
  REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
  CHECK(put(f, 1, content_of(1, 40 << 10), {}, 0, CUBBY_KEEP_DURABLE) == CUBBY_ERR_INVALID);
  std::vector<uint8_t> states;
  match(f, {2}, &states);
  CHECK(states[0] == CUBBY_STATE_HOST);
  match(f, {1}, &states);
  CHECK(states[0] == CUBBY_STATE_FILE);
}
