// Prefixes: which lengths of a chain can be used, and what is said of each key.
#include "unit/directory/fixture.hpp"

namespace match_test {

using namespace directory_test;

namespace {

/// All parts alike, in the last so many keys of a prefix.
match_rule in_the_last(uint32_t count) {
  match_rule made;
  for (part_rule &one : made.of) one.trailing = count;
  return made;
}

std::vector<std::string> names_of(uint32_t count) {
  std::vector<std::string> names;
  for (uint32_t i = 0; i < count; ++i) names.push_back("key " + std::to_string(i));
  return names;
}

std::vector<uint32_t> lengths_of(const std::vector<bool> &bits) {
  std::vector<uint32_t> lengths;
  for (uint32_t i = 0; i < bits.size(); ++i) {
    if (bits[i]) lengths.push_back(i + 1);
  }
  return lengths;
}

}  // namespace

TEST_CASE("the longest prefix is found, and the state of every key behind it") {
  fixture one;
  one.put_chain({"a", "b", "c", "d"});
  one.erase("b");
  const auto pending = one.begin("e", "d");
  const auto found = one.match({"a", "b", "c", "d", "e", "f"});
  REQUIRE(found.hit_count == 1);
  REQUIRE(found.views[0].present == 1);
  REQUIRE(found.views[1].present == 0);
  REQUIRE(found.views[1].locker == no_locker);
  REQUIRE(found.views[2].locker == 2);
  REQUIRE(found.views[3].locker == 3);
  REQUIRE(found.views[4].pending == 1);
  REQUIRE(found.views[5].pending == 0);
  REQUIRE(one.match({}).hit_count == 0);
  REQUIRE(pending.ok());
}

TEST_CASE("an orphan does not count until its parents are there, in any order") {
  std::vector<std::string> names = names_of(6);
  std::vector<size_t> order = {0, 1, 2, 3, 4, 5};
  do {
    fixture one;
    std::vector<bool> put(6);
    for (const size_t i : order) {
      one.put(names[i], i == 0 ? "" : names[i - 1]);
      put[i] = true;
      const auto first_missing = std::find(put.begin(), put.end(), false) - put.begin();
      REQUIRE(one.match(names).hit_count == first_missing);
    }
    REQUIRE(one.keys.counts().parents_absent == 0);
  } while (std::next_permutation(order.begin(), order.end()));
}

TEST_CASE("a prefix begins at a root unless the key before it is named") {
  fixture one;
  one.put_chain({"a", "b", "c"});
  REQUIRE(one.match({"b", "c"}).hit_count == 0);
  REQUIRE(one.match({"b", "c"}, nullptr, "a").hit_count == 2);
  REQUIRE(one.match({"b", "c"}, nullptr, "c").hit_count == 0);
  REQUIRE(one.match({"b", "c"}, nullptr, "unknown").hit_count == 0);
  REQUIRE(one.match({"a", "b"}, nullptr, "c").hit_count == 0);
  // The caller has the bytes of the key before; whether they are here as well does not matter.
  one.erase("a");
  REQUIRE(one.match({"b", "c"}, nullptr, "a").hit_count == 2);
}

TEST_CASE("a key that is present under another parent ends the prefix for every rule") {
  fixture one;
  one.put_chain({"a", "b", "c", "d"});
  one.put("x");
  const match_rule last = in_the_last(1);
  REQUIRE(one.match({"a", "b", "c", "d"}, &last).hit_count == 4);
  REQUIRE(one.match({"a", "x", "c", "d"}, &last).hit_count == 1);
  REQUIRE(one.match({"a", "c", "d"}, &last).hit_count == 1);
  REQUIRE(one.match({"a", "c", "d"}).hit_count == 1);
  REQUIRE(one.match({"a", "a"}).hit_count == 1);
}

TEST_CASE("of a sliding window only the last keys have to be present") {
  fixture one;
  const auto names = names_of(6);
  one.put_chain(names);
  one.erase(names[1]);
  match_rule window = in_the_last(3);
  const auto found = one.match(names, &window);
  REQUIRE(lengths_of(found.restorable) == std::vector<uint32_t>{1, 5, 6});
  REQUIRE(found.hit_count == 6);
  window = in_the_last(5);
  REQUIRE(one.match(names, &window).hit_count == 1);
  window = in_the_last(1);
  REQUIRE(lengths_of(one.match(names, &window).restorable) == std::vector<uint32_t>{1, 3, 4, 5, 6});
}

TEST_CASE("each part has a rule of its own") {
  // Full attention in all keys, a window of two, a recurrent state at the end of every third key.
  fixture one(config_of(64, 3));
  const auto names = names_of(9);
  for (uint32_t i = 0; i < 9; ++i) {
    const uint16_t window = i >= 3 ? 0b010 : 0;
    const uint16_t state = i % 3 == 2 ? 0b100 : 0;
    one.put(names[i], i == 0 ? "" : names[i - 1], static_cast<uint16_t>(0b001 | window | state));
  }
  match_rule rule;
  rule.of[1].trailing = 2;
  rule.of[2] = {1, 3};
  REQUIRE(lengths_of(one.match(names, &rule).restorable) == std::vector<uint32_t>{6, 9});
  rule.parts = 0b101;
  REQUIRE(lengths_of(one.match(names, &rule).restorable) == std::vector<uint32_t>{3, 6, 9});
  rule.parts = 0b010;
  REQUIRE(lengths_of(one.match(names, &rule).restorable) == std::vector<uint32_t>{5, 6, 7, 8, 9});
  rule.parts = 0b001;
  REQUIRE(one.match(names, &rule).hit_count == 9);
  REQUIRE(one.match(names).hit_count == 0);  // no rule: every part of every key
  one.erase(names[5]);
  one.put(names[5], names[4], 0b011);
  rule = {};
  rule.parts = 0b100;
  rule.of[2] = {0, 3};  // in all groups
  REQUIRE(lengths_of(one.match(names, &rule).restorable) == std::vector<uint32_t>{3});
}

TEST_CASE("matches longer than a group and than a word of bits") {
  for (const uint32_t count : {1u, 15u, 16u, 17u, 63u, 64u, 65u, 200u}) {
    fixture one(config_of(256));
    const auto names = names_of(count);
    one.put_chain(names);
    REQUIRE(one.match(names).hit_count == count);
    REQUIRE(lengths_of(one.match(names).restorable).size() == count);
    one.erase(names[count / 2]);
    REQUIRE(one.match(names).hit_count == count / 2);
    REQUIRE(one.match(names).views[count - 1].present == (count > 1 ? 1 : 0));
  }
}

TEST_CASE("a match names what is wrong with its query") {
  fixture one(config_of(4, 2));
  const std::string too_long(65, 'x');
  std::vector<cubby_key> keys = {key_of("a"), key_of(too_long), {nullptr, 3}};
  match_query query;
  query.space = one.space;
  query.keys = keys.data();
  query.count = 2;
  REQUIRE(one.keys.match(query).failure().text.find("key 1") != std::string::npos);
  query.keys = keys.data() + 2;
  query.count = 1;
  REQUIRE(one.keys.match(query).failure().text.find("NULL") != std::string::npos);
  query.keys = keys.data();
  query.after = &keys[1];
  REQUIRE(one.keys.match(query).failure().text.find("after") != std::string::npos);
  query.after = nullptr;
  match_rule rule;
  rule.parts = 0b100;
  query.rule = &rule;
  REQUIRE(one.keys.match(query).failure().status == CUBBY_ERR_INVALID);
}

TEST_CASE("answers depend on completed puts alone, not on the seed nor on the buckets") {
  for (const uint64_t buckets : {1u, 2u, 64u}) {
    for (const uint64_t seed : {0u, 1u, 99u}) {
      directory_config config = config_of(64);
      config.bucket_count = buckets;
      config.seed = seed;
      fixture one(config);
      const auto names = names_of(40);
      one.put_chain(names);
      one.erase(names[30]);
      REQUIRE(one.match(names).hit_count == 30);
      REQUIRE(one.match(names).views[39].locker == 39);
    }
  }
}

TEST_CASE("parents in a ring are no prefix, and can be evicted") {
  fixture one;
  one.put("a", "b");
  one.put("b", "a");
  const match_rule last = in_the_last(1);
  REQUIRE(one.match({"a", "b"}).hit_count == 0);
  REQUIRE(one.match({"b", "a"}, &last).hit_count == 0);
  one.erase("a");
  one.erase("b");
  REQUIRE(one.keys.counts().entries == 0);
  REQUIRE(one.keys.counts().parents_absent == 0);
}

}  // namespace match_test
