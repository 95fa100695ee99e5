// Bugs that were seen in the field and that a directory could make again.
#include "unit/directory/fixture.hpp"

namespace field_bugs_test {

using namespace directory_test;

// LMCache #4385, #1866, TensorRT-LLM #8813: another request's KV served as success.
TEST_CASE("field: a locker number given to another key is not served for the first") {
  fixture one;
  one.put("victim");
  const key_view seen = one.view("victim");
  one.next_locker = one.erase("victim");
  REQUIRE_FALSE(one.keys.still_holds(seen));
  one.put("other");
  REQUIRE(one.view("other").locker == seen.locker);
  REQUIRE_FALSE(one.keys.still_holds(seen));
  REQUIRE(one.match({"victim"}).hit_count == 0);
}

// The same, where the key's node lives on because a child names it.
TEST_CASE("field: a parent that was evicted is not served by its node") {
  fixture one;
  one.put_chain({"a", "b"});
  const key_view seen = one.view("a");
  one.next_locker = one.erase("a");
  REQUIRE_FALSE(one.keys.still_holds(seen));
  one.put("x");
  REQUIRE(one.view("x").locker == seen.locker);
  REQUIRE_FALSE(one.keys.still_holds(seen));
  REQUIRE(one.match({"a", "b"}).hit_count == 0);
  one.next_locker = 5;
  one.put("a");
  REQUIRE(one.match({"a", "b"}).hit_count == 2);
  REQUIRE(one.view("a").locker == 5);
  REQUIRE_FALSE(one.keys.still_holds(seen));
}

// vLLM #55191, #55904, #56311: KV of another layout, rank or tenant found by the same block hash.
TEST_CASE("field: a key of another fingerprint or tenant is a miss") {
  fixture one;
  const uint32_t layout = one.open("model, heads 8", "tenant");
  const uint32_t tenant = one.open("model", "tenant 2");
  one.put_chain({"a", "b"});
  for (const uint32_t other : {layout, tenant}) {
    REQUIRE(one.match({"a", "b"}, nullptr, nullptr, other).hit_count == 0);
    REQUIRE_FALSE(one.match({"a", "b"}, nullptr, nullptr, other).views[0].entry);
    // A parent of another space does not complete a chain.
    one.put("b", "a", 0, other);
    REQUIRE(one.match({"a", "b"}, nullptr, nullptr, other).hit_count == 0);
  }
}

TEST_CASE("field: a prefix with a hole ends before it, however much lies behind") {
  fixture one;
  std::vector<std::string> names;
  for (int i = 0; i < 40; ++i) names.push_back("k" + std::to_string(i));
  one.put_chain(names);
  one.erase("k17");
  REQUIRE(one.match(names).hit_count == 17);
  one.put("k17", "k16");
  REQUIRE(one.match(names).hit_count == 40);
}

// Prefix caches that key a block by its own tokens alone.
TEST_CASE("field: equal blocks behind different prefixes do not share an entry") {
  fixture one;
  one.put("system prompt 1");
  one.put("system prompt 2");
  one.put("block", "system prompt 1");
  REQUIRE(one.begin("block", "system prompt 2").failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.match({"system prompt 2", "block"}).hit_count == 1);
  REQUIRE(one.match({"system prompt 1", "block"}).hit_count == 2);
}

TEST_CASE("field: keys whose hashes collide are distinguished by their bytes") {
  directory_config config = config_of(512);
  config.bucket_count = 1;  // all hashes lead to one place
  fixture one(config);
  for (int i = 0; i < 200; ++i) one.put("key " + std::to_string(i));
  for (int i = 0; i < 200; ++i) {
    REQUIRE(one.view("key " + std::to_string(i)).locker == static_cast<uint32_t>(i));
  }
  REQUIRE(one.match({"key 200"}).hit_count == 0);
  std::string key(64, 'k');
  one.put(key);
  for (size_t i = 0; i < 64; ++i) {
    key[i] ^= 1;
    REQUIRE_FALSE(one.view(key).entry);
    key[i] ^= 1;
  }
}

// LMCache #4991: a store that failed stays visible.
TEST_CASE("field: a put that failed is not found, nor is what hangs on it") {
  fixture one;
  one.put("a");
  const auto failed = one.begin("b", "a");
  one.put("c", "b");
  REQUIRE(one.match({"a", "b", "c"}).hit_count == 1);
  REQUIRE(one.keys.abandon(failed->entry, failed->locker, 1)->released == failed->locker);
  REQUIRE(one.match({"a", "b", "c"}).hit_count == 1);
  REQUIRE(one.view("b").present == 0);
  REQUIRE(one.view("b").pending == 0);
  one.put("b", "a");
  REQUIRE(one.match({"a", "b", "c"}).hit_count == 3);
}

// vLLM #49176, #49328: a load that fails is asked for again for ever.
TEST_CASE("field: a key that failed to load is a miss until its time") {
  fixture one;
  one.put_chain({"a", "b"});
  for (uint64_t failure = 1; failure <= 3; ++failure) {
    const uint64_t until = failure * 100;
    one.keys.withhold(one.view("b").locker, until);
    one.now_ns = until - 1;
    REQUIRE(one.match({"a", "b"}).hit_count == 1);
    one.now_ns = until;
    REQUIRE(one.match({"a", "b"}).hit_count == 2);
  }
}

// LMCache: no hits across processes, because a random seed was part of the keys.
TEST_CASE("field: the seed is no part of what is found") {
  for (const uint64_t seed : {1u, 2u}) {
    directory_config config = config_of(8);
    config.seed = seed;
    fixture one(config);
    one.put_chain({"a", "b"});
    REQUIRE(one.match({"a", "b"}).hit_count == 2);
  }
}

// LMCache #4492: old slots, new keys. A handle or an entry of before never means what came after.
TEST_CASE("field: an entry of before does nothing to the one that came after") {
  fixture one;
  const auto old = one.begin("old", "");
  REQUIRE(one.keys.abandon(old->entry, old->locker, 1).ok());
  one.next_locker = 0;
  const auto put = one.begin("new", "");
  REQUIRE(put->entry.index == old->entry.index);
  REQUIRE(one.keys.publish(old->entry, old->locker, 1).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.erase(old->entry, erase_rule::any).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.view("new").pending == 1);
}

}  // namespace field_bugs_test
