// What `kv` makes of hints: each kind changes who leaves, and of LRU's net and its state.
#include "support/policy_house.hpp"

namespace {

using policy_house::house;
constexpr uint64_t second = 1'000'000'000;

policy_house::shape blocks_of(uint32_t capacity) {
  policy_house::shape shape;
  shape.kind = CUBBY_POLICY_BANK_KV;
  shape.columns = 64;
  shape.capacity = capacity;
  return shape;
}

/// Six blocks without a parent, one a second; the first has been idle for longest.
struct six : house {
  six() : house("kv", blocks_of(6)) {
    for (cubby_object who = 0; who < 6; ++who) touch(who, CUBBY_NEVER_USED, who * second);
  }
  int32_t hint(uint32_t kind, cubby_object who, uint64_t when_ns, uint64_t ttl_ns,
               uint32_t priority) {
    cubby_policy_hint told = {};
    told.struct_size = sizeof told;
    told.kind = kind;
    told.objects = &who;
    told.object_count = 1;
    told.when_ns = when_ns;
    told.ttl_ns = ttl_ns;
    told.priority = priority;
    told.now_ns = 6 * second;
    return ops().hint(policy(), &told);
  }
  /// A newcomer that has none before it, at this time.
  cubby_object victim_at(uint64_t at_ns) {
    cubby_policy_access access = {};
    access.struct_size = sizeof access;
    access.object = 20;
    access.parent = CUBBY_NO_OBJECT;
    access.last = 1;
    access.number = 100 + at_ns;
    access.next_use = CUBBY_NEVER_USED;
    access.now_ns = now_ns = at_ns;
    ops().access(policy(), &access);
    return first_victim(20);
  }
};

}  // namespace

TEST_CASE("Without a hint the block that is idle for longest leaves", "[placement][kv]") {
  CHECK(six().victim_at(7 * second) == 0);
}

TEST_CASE("What is closed leaves first", "[placement][kv]") {
  six h;
  REQUIRE(h.hint(CUBBY_POLICY_HINT_CLOSED, 4, 0, 0, 0) == 1);
  CHECK(h.victim_at(7 * second) == 4);
}

TEST_CASE("What is scheduled stays until it is due", "[placement][kv]") {
  six h;
  REQUIRE(h.hint(CUBBY_POLICY_HINT_SCHEDULED, 0, 2 * second, 0, 0) == 1);
  CHECK(h.victim_at(7 * second) == 1);
}

TEST_CASE("What is scheduled for much later gives way to what may come soon", "[placement][kv]") {
  six h;
  REQUIRE(h.hint(CUBBY_POLICY_HINT_SCHEDULED, 5, 100'000 * second, 0, 0) == 1);
  CHECK(h.victim_at(7 * second) == 5);
}

TEST_CASE("A priority keeps a block until its time is over", "[placement][kv]") {
  six kept, over;
  REQUIRE(kept.hint(CUBBY_POLICY_HINT_PRIORITY, 0, 0, 60 * second, 3) == 1);
  CHECK(kept.victim_at(7 * second) == 1);
  REQUIRE(over.hint(CUBBY_POLICY_HINT_PRIORITY, 0, 0, 2 * second, 3) == 1);
  CHECK(over.victim_at(9 * second) == 0);
}

TEST_CASE("Of two priorities the higher one stays", "[placement][kv]") {
  six h;
  for (cubby_object who = 0; who < 6; ++who)
    REQUIRE(h.hint(CUBBY_POLICY_HINT_PRIORITY, who, 0, 60 * second, who == 3 ? 1 : 2) == 1);
  CHECK(h.victim_at(7 * second) == 3);
}

TEST_CASE("Routes are nothing to kv", "[placement][kv]") {
  CHECK(six().hint(CUBBY_POLICY_HINT_ROUTE, 0, 0, 0, 0) == 0);
}

TEST_CASE("kv keeps 56 bytes a block, ghosts among them", "[placement][kv]") {
  auto shape = blocks_of(1000);
  shape.columns = 200'000;
  CHECK(house("kv", shape).stats().state_bytes <= uint64_t{200'000} * 56);
}
