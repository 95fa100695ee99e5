// Leases, and parts that are not offered for a time.
#include "unit/directory/fixture.hpp"

namespace lease_test {

using namespace directory_test;

namespace {

uint64_t lease_of(fixture &one, const std::vector<std::string> &names, uint64_t expires_ns) {
  std::vector<cubby_key> keys;
  for (const std::string &name : names) keys.push_back(key_of(name));
  const auto taken =
      one.keys.lease(one.space, keys.data(), static_cast<uint32_t>(keys.size()), expires_ns);
  REQUIRE(taken.ok());
  return *taken;
}

bool evictable(fixture &one, const char *name) {
  const auto erased = one.keys.erase(one.view(name).entry, erase_rule::any);
  if (!erased) REQUIRE(erased.failure().status == CUBBY_ERR_BUSY);
  return erased.ok();
}

}  // namespace

TEST_CASE("a leased key is not evicted until its range is released") {
  fixture one;
  one.put_chain({"a", "b", "c"});
  const uint64_t lease = lease_of(one, {"a", "b", "c"}, 100);
  for (const char *name : {"a", "b", "c"}) REQUIRE_FALSE(evictable(one, name));
  REQUIRE(one.keys.end_lease(lease, 2, 1).ok());
  REQUIRE(evictable(one, "c"));
  REQUIRE_FALSE(evictable(one, "a"));
  REQUIRE(one.keys.end_lease(lease, 0, 0).ok());
  REQUIRE(evictable(one, "b"));
  REQUIRE(evictable(one, "a"));
  REQUIRE(one.keys.counts().leases == 0);
}

TEST_CASE("a leased key may get another parent, and its lease stays") {
  fixture one;
  one.put_chain({"stand-in", "b", "c"});
  REQUIRE(evictable(one, "stand-in"));  // a parent that is not here
  REQUIRE(one.keys.counts().parents_absent == 1);
  const uint64_t lease = lease_of(one, {"b"}, 100);
  const auto b = one.view("b").entry;
  // One that is not here, either, and then is put.
  REQUIRE(one.keys.set_parent(b, one.space, key_of("a")).ok());
  REQUIRE(one.keys.counts().parents_absent == 1);
  one.put("a");
  REQUIRE(one.match({"a", "b", "c"}).hit_count == 3);
  REQUIRE(one.put("b", "a").known == 1);
  REQUIRE(one.keys.counts().parents_absent == 0);
  REQUIRE_FALSE(evictable(one, "b"));
  REQUIRE(one.keys.end_lease(lease, 0, 0).ok());
  REQUIRE(one.keys.set_parent(b, one.space, key_of("b")).failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.keys.set_parent(b, 0, key_of("a")).failure().status == CUBBY_ERR_STALE);
  REQUIRE(evictable(one, "b"));
  REQUIRE(one.keys.set_parent(b, one.space, key_of("a")).failure().status == CUBBY_ERR_STALE);
}

TEST_CASE("a lease ends with its time") {
  fixture one;
  one.put("a");
  one.put("b");
  const uint64_t early = lease_of(one, {"a", "b"}, 100);
  const uint64_t late = lease_of(one, {"b"}, 200);
  REQUIRE(one.keys.next_expiry_ns() == 100);
  one.keys.expire(99, 100);
  REQUIRE_FALSE(evictable(one, "a"));
  one.keys.expire(100, 100);
  REQUIRE(evictable(one, "a"));
  REQUIRE_FALSE(evictable(one, "b"));
  REQUIRE(one.keys.end_lease(early, 0, 0).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.end_lease(late, 0, 1).ok());
  REQUIRE(one.keys.next_expiry_ns() == ~uint64_t{0});
  REQUIRE(evictable(one, "b"));
}

TEST_CASE("the work of one expiry is bounded") {
  fixture one;
  one.put("a");
  for (int i = 0; i < 10; ++i) (void)lease_of(one, {"a"}, 100);
  REQUIRE(one.keys.expire(100, 4));
  REQUIRE(one.keys.counts().leases == 6);
  REQUIRE(one.keys.expire(100, 4));
  REQUIRE_FALSE(one.keys.expire(100, 4));
  REQUIRE(evictable(one, "a"));
}

TEST_CASE("releasing twice, out of range, or what never was, releases nothing") {
  fixture one;
  one.put("a");
  one.put("b");
  const uint64_t lease = lease_of(one, {"a", "b"}, 100);
  REQUIRE(one.keys.end_lease(lease, 0, 1).ok());
  REQUIRE(one.keys.end_lease(lease, 0, 1).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.end_lease(lease, 0, 2).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.end_lease(lease, 1, 2).failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.keys.end_lease(lease, 2, 1).failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.keys.end_lease(lease, 3, ~0u).failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.keys.end_lease(0, 0, 0).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.end_lease(lease + (uint64_t{1} << 32), 0, 0).failure().status ==
          CUBBY_ERR_STALE);
  REQUIRE_FALSE(evictable(one, "b"));
  REQUIRE(one.keys.end_lease(lease, 0, 0).ok());
  REQUIRE(one.keys.end_lease(lease, 0, 0).failure().status == CUBBY_ERR_STALE);
  REQUIRE(lease_of(one, {"b"}, 100) != lease);  // its place is used again, its handle is not
}

TEST_CASE("a lease is of all its keys or of none") {
  fixture one;
  one.put("a");
  const auto pending = one.begin("p", "");
  for (const char *missing : {"p", "unknown"}) {
    const std::vector<cubby_key> keys = {key_of("a"), key_of(missing)};
    const auto taken = one.keys.lease(one.space, keys.data(), 2, 100);
    REQUIRE(taken.failure().status == CUBBY_MISS);
    REQUIRE(taken.failure().text.find("key 1 of 2") != std::string::npos);
  }
  REQUIRE(one.keys.lease(one.space, nullptr, 0, 100).failure().status == CUBBY_ERR_INVALID);
  REQUIRE(evictable(one, "a"));
  REQUIRE(pending.ok());
}

TEST_CASE("as many leases as were asked for") {
  directory_config config = config_of(8);
  config.lease_max = 2;
  fixture one(config);
  one.put("a");
  (void)lease_of(one, {"a"}, 100);
  (void)lease_of(one, {"a"}, 100);
  const cubby_key key = key_of("a");
  REQUIRE(one.keys.lease(one.space, &key, 1, 100).failure().status == CUBBY_ERR_BUSY);
  one.keys.expire(100, 100);
  REQUIRE(one.keys.lease(one.space, &key, 1, 200).ok());
}

TEST_CASE("one entry is held by 65,535 leases at most") {
  fixture one;
  one.put("a");
  std::vector<std::string> often(65534, "a");
  (void)lease_of(one, often, 100);
  const std::vector<cubby_key> two(2, key_of("a"));
  REQUIRE(one.keys.lease(one.space, two.data(), 2, 100).failure().status == CUBBY_ERR_BUSY);
  REQUIRE(one.keys.describe(one.view("a").entry).leases == 65534);
  REQUIRE(one.keys.counts().leases == 1);
  (void)lease_of(one, {"a"}, 100);
  one.keys.expire(100, ~0u);
  REQUIRE(evictable(one, "a"));
}

TEST_CASE("a lease outlives its space and does no harm to who has its node next") {
  fixture one;
  one.put("a");
  const uint64_t lease = lease_of(one, {"a"}, 100);
  REQUIRE(one.keys.remove_space(one.space).ok());
  std::vector<uint32_t> released;
  one.keys.reclaim(100, released);
  REQUIRE(released == std::vector<uint32_t>{0});
  one.space = one.open("model", "tenant");
  one.next_locker = 0;
  one.put("b");
  const uint64_t other = lease_of(one, {"b"}, 100);
  REQUIRE(one.keys.end_lease(lease, 0, 0).ok());
  REQUIRE_FALSE(evictable(one, "b"));
  REQUIRE(one.keys.end_lease(other, 0, 0).ok());
  REQUIRE(evictable(one, "b"));
}

TEST_CASE("a locker that could not be read is not offered until its time") {
  fixture one(config_of(8, 2));
  one.put_chain({"a", "b"});
  REQUIRE_FALSE(one.keys.any_withheld());
  one.keys.withhold(one.view("b").locker, 100);
  REQUIRE(one.keys.any_withheld());
  one.now_ns = 99;
  const auto seen = one.match({"a", "b"});
  REQUIRE(seen.hit_count == 1);
  REQUIRE(seen.views[1].present == 0);
  REQUIRE(seen.views[1].locker == no_locker);
  REQUIRE(seen.restorable == std::vector<bool>{true, false});
  REQUIRE(one.view("b").present == 0b11);  // it may still be asked for
  one.now_ns = 100;
  REQUIRE(one.match({"a", "b"}).hit_count == 2);
}

TEST_CASE("a withheld locker is offered when its bytes are others") {
  fixture one;
  one.put("a");
  one.keys.withhold(0, 100);
  one.keys.offer(0);
  REQUIRE(one.match({"a"}).hit_count == 1);
  one.keys.withhold(0, 100);
  one.keys.withhold(1, 100);
  one.put("b");
  REQUIRE(one.match({"b"}).hit_count == 0);
  one.erase("a");
  one.next_locker = 0;
  one.put("c");
  REQUIRE(one.view("c").locker == 0);
  REQUIRE(one.match({"c"}).hit_count == 1);
}

TEST_CASE("a withheld key can be evicted, and is no lease's end") {
  fixture one;
  one.put("a");
  one.keys.withhold(0, 100);
  REQUIRE(one.keys.next_expiry_ns() == ~uint64_t{0});
  REQUIRE(evictable(one, "a"));
}

TEST_CASE("memory for what is withheld is taken for the first and counted") {
  fixture one;
  one.put("a");
  const uint64_t before = one.keys.bytes();
  one.keys.withhold(0, 100);
  REQUIRE(one.keys.bytes() == before + 64 * sizeof(uint64_t));
}

}  // namespace lease_test
