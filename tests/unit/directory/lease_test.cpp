// Leases, and parts that are not offered for a time.
#include "unit/directory/fixture.hpp"

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

TEST_CASE("parts that failed to load are not offered until their time, and are counted") {
  fixture one(config_of(8, 2));
  one.put_chain({"a", "b"});
  REQUIRE(one.keys.withhold(one.view("b").entry, 0b10, 100).ok());
  REQUIRE(one.view("b").present == 0b01);
  REQUIRE(one.match({"a", "b"}).hit_count == 1);
  match_rule first_part;
  first_part.parts = 0b01;
  REQUIRE(one.match({"a", "b"}, &first_part).hit_count == 2);
  REQUIRE(one.keys.counts().withheld == 1);
  REQUIRE(one.keys.next_expiry_ns() == 100);
  one.keys.expire(99, 10);
  REQUIRE(one.match({"a", "b"}).hit_count == 1);
  one.keys.expire(100, 10);
  REQUIRE(one.match({"a", "b"}).hit_count == 2);
  REQUIRE(one.keys.counts().withheld == 0);
  REQUIRE(one.keys.counts().withheld_ever == 1);
}

TEST_CASE("the later of two times counts, and withholding what is not there does nothing") {
  fixture one(config_of(8, 2));
  one.put("a", "", 0b01);
  const entry_ref entry = one.view("a").entry;
  REQUIRE(one.keys.withhold(entry, 0b10, 100).ok());
  REQUIRE(one.keys.counts().withheld_ever == 0);
  REQUIRE(one.keys.withhold(entry, 0b01, 200).ok());
  one.put("a", "", 0b10);  // of the same locker: what failed may load later
  REQUIRE(one.view("a").locker == 0);
  REQUIRE(one.keys.withhold(entry, 0b10, 100).ok());
  one.keys.expire(199, 10);
  REQUIRE(one.view("a").present == 0);
  one.keys.expire(200, 10);
  REQUIRE(one.view("a").present == 0b11);
}

TEST_CASE("a put of a withheld key brings new bytes in another locker") {
  fixture one;
  one.put("a");
  REQUIRE(one.keys.withhold(one.view("a").entry, 1, 100).ok());
  REQUIRE(one.view("a").locker == no_locker);
  const auto put = one.begin("a", "");
  REQUIRE(put->fresh == 1);
  REQUIRE(put->took_locker);
  REQUIRE(put->released == 0);
  REQUIRE(put->locker == 1);
  REQUIRE_FALSE(one.keys.at_locker(0));
  one.keys.expire(100, 10);  // what was withheld is not offered with the new locker
  REQUIRE(one.view("a").present == 0);
  REQUIRE(one.keys.publish(put->entry, 1, 1)->visible);
  REQUIRE(one.view("a").locker == 1);
  REQUIRE(one.keys.counts().withheld == 0);
}

TEST_CASE("a withheld part of a key with others is put again into its locker") {
  fixture one(config_of(8, 2));
  one.put("a");
  REQUIRE(one.keys.withhold(one.view("a").entry, 0b10, 100).ok());
  const auto put = one.begin("a", "");
  REQUIRE(put->known == 0b01);
  REQUIRE(put->fresh == 0b10);
  REQUIRE_FALSE(put->took_locker);
  one.keys.expire(100, 10);
  REQUIRE(one.view("a").present == 0b01);
  REQUIRE(one.keys.abandon(put->entry, put->locker, 0b10)->released == no_locker);
  REQUIRE(one.view("a").present == 0b01);
}

TEST_CASE("a withheld key can be evicted, and its time then means nothing") {
  fixture one;
  one.put("a");
  REQUIRE(one.keys.withhold(one.view("a").entry, 1, 100).ok());
  REQUIRE(evictable(one, "a"));
  REQUIRE(one.keys.next_expiry_ns() == ~uint64_t{0});
  one.next_locker = 0;
  one.put("b");
  one.keys.expire(100, 10);
  REQUIRE_FALSE(one.view("a").entry);
}
