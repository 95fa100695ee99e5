// Nodes: lives, reuse, what they cost.
#include "directory/node_pool.hpp"

#include <string>

#include "directory/key_directory.hpp"
#include "support/catch.hpp"

namespace node_pool_test {

using namespace cubby;
using namespace cubby::directory;

namespace {

packed_key packed(const std::string &name) {
  packed_key key;
  pack_key({name.data(), static_cast<uint32_t>(name.size())}, 1, key);
  return key;
}

uint32_t take(node_pool &pool, const std::string &name) {
  REQUIRE(pool.make_ready(1, name.size() > 32));
  return pool.take(packed(name));
}

}  // namespace

TEST_CASE("a node used again has another life") {
  node_pool pool(1);
  const uint32_t index = take(pool, "a");
  const entry_ref first = pool.ref(index);
  REQUIRE_FALSE(pool.make_ready(1, false));
  pool.give(index);
  REQUIRE(pool.at(index).life() != first.life);
  REQUIRE(take(pool, "b") == index);
  REQUIRE(pool.ref(index) != first);
  REQUIRE(pool.holds_key(index, packed("b")));
  REQUIRE_FALSE(pool.holds_key(index, packed("a")));
}

TEST_CASE("the node freed first is used first, and only those ever used cost memory") {
  node_pool pool(1000);
  const uint64_t empty = pool.bytes();
  for (const char *name : {"a", "b", "c"}) (void)take(pool, name);
  REQUIRE(pool.bytes() == empty + 3 * (sizeof(node) + sizeof(node_record)));
  pool.give(1);
  pool.give(0);
  REQUIRE(take(pool, "d") == 1);
  REQUIRE(take(pool, "e") == 0);
  REQUIRE(take(pool, "f") == 3);
  REQUIRE(pool.in_use() == 4);
}

TEST_CASE("a node whose lives are used up is not used again") {
  node_pool pool(2, 3);
  for (int i = 0; i < 6; ++i) pool.give(take(pool, "a"));
  REQUIRE_FALSE(pool.make_ready(1, false));
  REQUIRE(pool.in_use() == 0);
}

TEST_CASE("readiness for two counts both") {
  node_pool pool(3);
  (void)take(pool, "a");
  REQUIRE(pool.make_ready(2, true));
  (void)take(pool, "b");
  REQUIRE(pool.make_ready(1, true));
  REQUIRE_FALSE(pool.make_ready(2, true));
  pool.give(0);
  REQUIRE(pool.make_ready(2, true));
  const std::string text(64, 'x');
  for (int i = 0; i < 2; ++i) {
    const uint32_t index = pool.take(packed(text));
    packed_key read;
    pool.read_key(index, read);
    REQUIRE(equal(read, packed(text)));
    REQUIRE_FALSE(equal(read, packed(text.substr(1))));
  }
}

TEST_CASE("a directory costs at most 96 bytes a block with keys of 32 bytes") {
  for (const uint32_t count : {10000u, 100000u}) {
    directory_config config;
    config.locker_count = count;
    key_directory keys(config);
    const auto space = keys.add_space({}, {});
    REQUIRE(space.ok());
    std::array<uint64_t, 4> name{}, parent{};
    for (uint32_t i = 0; i < count; ++i) {
      name[0] = i;
      parent[0] = i - 1;
      const cubby_key above{parent.data(), 32};
      put_request request;
      request.space = *space;
      request.key = {name.data(), 32};
      request.parent = i == 0 ? nullptr : &above;
      request.locker = i;
      const auto put = keys.begin_put(request);
      REQUIRE(put.ok());
      REQUIRE(keys.publish(put->entry, i, 1).ok());
    }
    const double each = static_cast<double>(keys.bytes()) / count;
    INFO(each << " bytes a block");
    REQUIRE(each <= 96.0);
  }
}

}  // namespace node_pool_test
