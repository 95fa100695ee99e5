// Spaces: what is put in one is found in it alone.
#include "unit/directory/fixture.hpp"

namespace space_test {

using namespace directory_test;

TEST_CASE("the same key in two spaces is two entries") {
  fixture one;
  const uint32_t other = one.open("model", "another tenant");
  const uint32_t third = one.open("another model", "tenant");
  one.put("k");
  one.put("k", "", 0, other);
  REQUIRE(one.view("k").locker == 0);
  REQUIRE(one.view("k", other).locker == 1);
  REQUIRE_FALSE(one.view("k", third).entry);
  one.erase("k");
  REQUIRE(one.view("k").present == 0);
  REQUIRE(one.view("k", other).present == 1);
}

TEST_CASE("fingerprint and domain are compared each by itself") {
  fixture one;
  const uint32_t ab_c = one.open("ab", "c");
  const uint32_t a_bc = one.open("a", "bc");
  one.put("k", "", 0, ab_c);
  REQUIRE(one.view("k", a_bc).present == 0);
}

TEST_CASE("the same pair gives a second handle on the same keys") {
  fixture one;
  const uint32_t second = one.open("model", "tenant");
  REQUIRE(second != one.space);
  one.put("k");
  REQUIRE(one.view("k", second).locker == one.view("k").locker);
  REQUIRE(one.keys.remove_space(one.space).ok());
  REQUIRE(one.view("k", second).present == 1);
  REQUIRE(one.keys.counts().reclaimable == 0);
  REQUIRE(one.keys.remove_space(second).ok());
  REQUIRE(one.keys.counts().reclaimable == 1);
}

TEST_CASE("a removed space's handle is stale for every call") {
  fixture one;
  const auto put = one.put("k");
  REQUIRE(one.keys.remove_space(one.space).ok());
  const cubby_key key = key_of("k");
  REQUIRE(one.keys.remove_space(one.space).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.find(one.space, key).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.lease(one.space, &key, 1, 9).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.begin("k", "").failure().status == CUBBY_ERR_STALE);
  match_query query;
  query.space = one.space;
  REQUIRE(one.keys.match(query).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.find(0, key).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.find(12345678, key).failure().status == CUBBY_ERR_STALE);
  (void)put;
}

TEST_CASE("a space added again after its removal is empty, and its numbers come back in steps") {
  fixture one;
  for (int i = 0; i < 20; ++i) one.put("k" + std::to_string(i), i == 0 ? "" : "k0");
  REQUIRE(one.keys.remove_space(one.space).ok());
  one.space = one.open("model", "tenant");
  REQUIRE_FALSE(one.view("k3").entry);
  one.put("k3");
  std::vector<uint32_t> released;
  one.keys.reclaim(5, released);
  REQUIRE(released.size() <= 5);
  for (int i = 0; i < 20 && one.keys.counts().reclaimable != 0; ++i) one.keys.reclaim(5, released);
  std::sort(released.begin(), released.end());
  REQUIRE(released.size() == 20);
  for (uint32_t i = 0; i < 20; ++i) REQUIRE(released[i] == i);
  REQUIRE(one.view("k3").present == 1);
  REQUIRE(one.keys.counts().entries == 1);
  REQUIRE(one.keys.counts().parents_absent == 0);
}

TEST_CASE("a put that ends after its space publishes nothing and frees its number") {
  fixture one;
  const auto put = one.begin("k", "");
  REQUIRE(put.ok());
  REQUIRE(one.keys.remove_space(one.space).ok());
  std::vector<uint32_t> released;
  one.keys.reclaim(100, released);
  REQUIRE(released.empty());  // its bytes are still being written
  const auto end = one.keys.publish(put->entry, put->locker, put->fresh);
  REQUIRE(end.ok());
  REQUIRE_FALSE(end->visible);
  REQUIRE(end->released == put->locker);
  REQUIRE(one.keys.counts().entries == 0);
}

TEST_CASE("as many spaces as were asked for, and then a refusal that says what to do") {
  directory_config config = config_of(8);
  config.space_max = 2;
  fixture one(config);
  const uint32_t second = one.open("m", "2");
  const auto third = one.keys.add_space(bytes_of("m"), bytes_of("3"));
  REQUIRE(third.failure().status == CUBBY_ERR_BUSY);
  REQUIRE(third.failure().text.find("remove one") != std::string::npos);
  REQUIRE(one.keys.remove_space(second).ok());
  REQUIRE(one.keys.add_space(bytes_of("m"), bytes_of("3")).ok());
}

TEST_CASE("a handle is given out once") {
  directory_config config = config_of(8);
  config.space_max = 1;
  key_directory keys(config);
  uint32_t last = 0;
  for (int i = 0; i < 65536; ++i) {
    const auto handle = keys.add_space(bytes_of("m"), bytes_of("d"));
    REQUIRE(handle.ok());
    REQUIRE(*handle != last);
    last = *handle;
    REQUIRE(keys.remove_space(last).ok());
  }
  REQUIRE_FALSE(keys.add_space(bytes_of("m"), bytes_of("d")).ok());
}

}  // namespace space_test
