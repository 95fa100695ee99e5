// Puts: what begins, is joined, published, abandoned, erased.
#include "unit/directory/fixture.hpp"

namespace put_test {

using namespace directory_test;

TEST_CASE("a pending put is seen as pending and never as present") {
  fixture one;
  const auto put = one.begin("k", "");
  REQUIRE(put.ok());
  REQUIRE(put->fresh == 1);
  REQUIRE(one.view("k").present == 0);
  REQUIRE(one.view("k").pending == 1);
  REQUIRE(one.match({"k"}).hit_count == 0);
  REQUIRE_FALSE(one.keys.still_holds(one.view("k")));
  REQUIRE(one.keys.publish(put->entry, put->locker, 1)->visible);
  REQUIRE(one.view("k").present == 1);
  REQUIRE(one.match({"k"}).hit_count == 1);
  REQUIRE(one.keys.still_holds(one.view("k")));
}

TEST_CASE("a put of a pending key joins, of a present key has nothing to do") {
  fixture one;
  const auto first = one.begin("k", "");
  const auto second = one.begin("k", "");
  REQUIRE(second.ok());
  REQUIRE(second->joined == 1);
  REQUIRE(second->fresh == 0);
  REQUIRE_FALSE(second->took_locker);
  REQUIRE(second->locker == first->locker);
  REQUIRE(one.keys.publish(first->entry, first->locker, 1).ok());
  const auto third = one.begin("k", "");
  REQUIRE(third->known == 1);
  REQUIRE(third->joined == 0);
  REQUIRE(third->fresh == 0);
  REQUIRE(one.keys.counts().entries == 1);
}

TEST_CASE("an abandoned put leaves nothing, and its number is free") {
  fixture one;
  const auto put = one.begin("k", "p");
  const auto end = one.keys.abandon(put->entry, put->locker, 1);
  REQUIRE(end->released == put->locker);
  REQUIRE_FALSE(one.view("k").entry);
  REQUIRE_FALSE(one.view("p").entry);
  REQUIRE(one.keys.counts().entries == 0);
  REQUIRE(one.keys.counts().parents_absent == 0);
}

TEST_CASE("a put ends once") {
  fixture one;
  const auto put = one.begin("k", "");
  REQUIRE(one.keys.publish(put->entry, put->locker + 1, 1).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.publish(put->entry, put->locker, 1).ok());
  REQUIRE(one.keys.publish(put->entry, put->locker, 1).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.abandon(put->entry, put->locker, 1).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.view("k").present == 1);
  one.erase("k");
  REQUIRE(one.keys.publish(put->entry, put->locker, 1).failure().status == CUBBY_ERR_STALE);
}

TEST_CASE("parts of one key come by several puts into one locker") {
  fixture one(config_of(8, 3));
  const auto a = one.begin("k", "", 0b001);
  const auto b = one.begin("k", "", 0b011);
  REQUIRE(b->joined == 0b001);
  REQUIRE(b->fresh == 0b010);
  REQUIRE(b->locker == a->locker);
  REQUIRE(one.keys.publish(b->entry, b->locker, 0b010)->visible);
  REQUIRE(one.view("k").present == 0b010);
  REQUIRE(one.view("k").pending == 0b001);
  REQUIRE(one.keys.abandon(a->entry, a->locker, 0b001)->released == no_locker);
  REQUIRE(one.view("k").present == 0b010);
  const auto c = one.begin("k", "");
  REQUIRE(c->known == 0b010);
  REQUIRE(c->fresh == 0b101);
}

TEST_CASE("a key put again with another parent is refused, and keeps the first") {
  fixture one;
  one.put_chain({"a", "b"});
  one.put("x");
  for (const char *other : {"x", "unknown", ""}) {
    const auto again = one.begin("b", other);
    REQUIRE(again.failure().status == CUBBY_ERR_INVALID);
    REQUIRE(again.failure().text.find("another parent") != std::string::npos);
  }
  REQUIRE(one.begin("a", "x").failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.match({"a", "b"}).hit_count == 2);
  REQUIRE(one.begin("b", "a")->known == 1);
  REQUIRE(one.keys.counts().parents_absent == 0);
}

TEST_CASE("bad input is refused and changes nothing") {
  fixture one(config_of(4, 2));
  REQUIRE(one.begin("k", "k").failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.begin("", "").failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.begin(std::string(65, 'x'), "").failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.begin("k", std::string(65, 'x')).failure().status == CUBBY_ERR_INVALID);
  REQUIRE(one.begin("k", "", 0b100).failure().status == CUBBY_ERR_INVALID);
  one.next_locker = 4;
  REQUIRE(one.begin("k", "p").failure().status == CUBBY_ERR_INVALID);
  one.next_locker = 0;
  one.put("a");
  one.next_locker = 0;
  REQUIRE(one.begin("k", "p").failure().text.find("another key has it") != std::string::npos);
  REQUIRE(one.keys.counts().entries == 1);
  REQUIRE(one.keys.counts().parents_absent == 0);
  put_request request;
  request.space = one.space;
  REQUIRE(one.keys.begin_put(request).failure().text.find("NULL") != std::string::npos);
}

TEST_CASE("keys of every length are distinguished") {
  fixture one(config_of(1024));
  const std::string text(64, 'a');
  for (size_t length = 1; length <= 64; ++length) one.put(text.substr(0, length));
  // A zero at the end is a byte of the key like any other.
  for (size_t length = 1; length < 64; ++length) {
    one.put(text.substr(0, length) + std::string(1, '\0'));
  }
  for (size_t length = 1; length <= 64; ++length) {
    REQUIRE(one.view(text.substr(0, length)).locker == length - 1);
  }
  std::string last_differs = text;
  last_differs[63] = 'b';
  REQUIRE_FALSE(one.view(last_differs).entry);
}

TEST_CASE("an entry is evicted from the leaves, and never while a put is under way") {
  fixture one;
  one.put_chain({"a", "b", "c"});
  REQUIRE(one.keys.describe(one.view("a").entry).children == 1);
  REQUIRE(one.keys.erase(one.view("b").entry, erase_rule::leaf).failure().status == CUBBY_ERR_BUSY);
  REQUIRE(one.erase("c", erase_rule::leaf) == 2);
  REQUIRE(one.erase("b", erase_rule::leaf) == 1);
  REQUIRE(one.erase("a", erase_rule::leaf) == 0);
  const auto put = one.begin("d", "");
  REQUIRE(one.keys.erase(put->entry, erase_rule::any).failure().status == CUBBY_ERR_BUSY);
  REQUIRE(one.keys.erase(entry_ref{}, erase_rule::any).failure().status == CUBBY_ERR_STALE);
  REQUIRE(one.keys.erase({1000, 1}, erase_rule::any).failure().status == CUBBY_ERR_STALE);
}

TEST_CASE("a locker leads back to its entry, and the entry to its parent's locker") {
  fixture one;
  one.put_chain({"a", "b"});
  REQUIRE(one.keys.at_locker(1) == one.view("b").entry);
  REQUIRE(one.keys.describe(one.keys.at_locker(1)).parent_locker == 0);
  one.erase("a");
  REQUIRE_FALSE(one.keys.at_locker(0));
  REQUIRE(one.keys.describe(one.keys.at_locker(1)).parent_locker == no_locker);
  REQUIRE_FALSE(one.keys.at_locker(1000));
}

TEST_CASE("the higher keep class of two puts counts") {
  fixture one;
  put_request request;
  request.space = one.space;
  request.key = key_of("k");
  request.locker = 0;
  request.keep = CUBBY_KEEP_RESTART;
  const auto put = one.keys.begin_put(request);
  request.keep = CUBBY_KEEP_CACHE;
  REQUIRE(one.keys.begin_put(request).ok());
  REQUIRE(one.keys.describe(put->entry).keep == CUBBY_KEEP_RESTART);
}

TEST_CASE("a directory is full when all lockers have keys, whatever their parents are") {
  fixture one(config_of(8));
  for (int i = 0; i < 8; ++i) one.put("k" + std::to_string(i), "absent" + std::to_string(i));
  REQUIRE(one.keys.counts().parents_absent == 8);
  for (int round = 0; round < 100; ++round) {
    one.next_locker = one.erase("k" + std::to_string(round % 8));
    one.put("k" + std::to_string(round % 8), "other" + std::to_string(round % 8));
  }
  REQUIRE(one.keys.counts().entries == 8);
  REQUIRE(one.keys.counts().parents_absent == 8);
}

TEST_CASE("configurations that cannot work are refused") {
  const auto refused = [](auto change) {
    directory_config config = config_of(8);
    change(config);
    return !key_directory::check(config).ok();
  };
  REQUIRE(key_directory::check(config_of(8, 16)).ok());
  REQUIRE(refused([](auto &config) { config.locker_count = 0; }));
  REQUIRE(refused([](auto &config) { config.part_count = 0; }));
  REQUIRE(refused([](auto &config) { config.part_count = 17; }));
  REQUIRE(refused([](auto &config) { config.bucket_count = 3; }));
  REQUIRE(refused([](auto &config) { config.space_max = 0; }));
  REQUIRE(refused([](auto &config) { config.space_max = 1 << 16; }));
}

}  // namespace put_test
