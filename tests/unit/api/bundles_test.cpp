// Blocks of several parts with rules of their own: what hybrid models need to go on from a prefix.
#include "unit/api/past_memory.hpp"

namespace bundles_test {

using namespace api_test;

namespace {

// As block_fixture lays them out.
constexpr uint64_t attention_bytes = 40 << 10, window_bytes = 20 << 10, state_bytes = 4 << 10;
constexpr uint64_t with_window_bytes = attention_bytes + window_bytes;
constexpr uint64_t whole_bytes = with_window_bytes + state_bytes;

/// Block `number` of a chain that begins with 1, with its first `bytes` bytes.
cubby_status put_bundle(const block_fixture &f, uint32_t number, uint64_t bytes, uint8_t keep = 0) {
  return put(f, number, content_of(number).substr(0, bytes),
             number == 1 ? std::string() : key_of(number - 1), 0, keep);
}

uint32_t hits(const block_fixture &f, uint32_t count, const std::vector<cubby_part_rule> &rules,
              uint64_t *restorable = nullptr) {
  std::vector<std::string> names;
  for (uint32_t i = 1; i <= count; ++i) names.push_back(key_of(i));
  std::vector<cubby_key> keys;
  for (const std::string &name : names) keys.push_back(as_key(name));
  cubby_match_rule rule{};
  rule.struct_size = sizeof rule;
  rule.parts = rules.data();
  rule.part_count = static_cast<uint32_t>(rules.size());
  rule.restorable = restorable;
  uint32_t found = ~0u;
  const cubby_status status =
      cubby_match(f.h.rt, f.space, keys.data(), count, &rule, &found, nullptr);
  INFO(explain());
  REQUIRE(status == CUBBY_OK);
  return found;
}

constexpr cubby_part_rule everywhere{1, 0, 0, 0}, nowhere{0, 0, 0, 0};

}  // namespace

TEST_CASE("each part of a block has a rule of its own, and all usable prefixes are named") {
  block_fixture f(0, 64, 3, {{}, 0, 8 * mib});
  // Full attention in every block, the window in the last four, the state in every third.
  for (uint32_t i = 1; i <= 8; ++i) {
    const uint64_t bytes = i % 3 == 0 ? whole_bytes : i > 4 ? with_window_bytes : attention_bytes;
    REQUIRE(put_bundle(f, i, bytes) == CUBBY_OK);
  }
  CHECK(match(f, numbers_to(8)) == 8);  // no rule for parts: the first is enough
  CHECK(hits(f, 8, {everywhere}) == 8);
  CHECK(hits(f, 8, {everywhere, everywhere}) == 0);
  CHECK(hits(f, 8, {everywhere, {1, 2, 0, 0}}) == 8);
  CHECK(hits(f, 8, {everywhere, nowhere, {1, 1, 3, 0}}) == 6);
  uint64_t restorable = ~uint64_t{0};
  CHECK(hits(f, 8, {everywhere, {1, 2, 0, 0}, {1, 1, 3, 0}}, &restorable) == 6);
  CHECK(restorable == 0b00100000);
  CHECK(hits(f, 8, {everywhere, nowhere, {1, 1, 3, 0}}, &restorable) == 6);
  CHECK(restorable == 0b00100100);
}

TEST_CASE("a block without a part that is put now is put anew, and is a known key with fewer") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 4 * mib};
  const auto keep = static_cast<uint8_t>(GENERATE(0, 2));
  {
    block_fixture f(0, 64, 3, tiers);
    REQUIRE(put_bundle(f, 1, attention_bytes, keep) == CUBBY_OK);
    CHECK(hits(f, 1, {everywhere, everywhere}) == 0);
    REQUIRE(put_bundle(f, 1, whole_bytes, keep) == CUBBY_OK);
    CHECK(hits(f, 1, {everywhere, everywhere, everywhere}) == 1);
    REQUIRE(put_bundle(f, 1, with_window_bytes, keep) == CUBBY_OK);
    CHECK(hits(f, 1, {everywhere, everywhere, everywhere}) == 1);
    std::string got(whole_bytes, 'x');
    REQUIRE(get(f, 1, got) == CUBBY_OK);
    CHECK(got == content_of(1));
    REQUIRE(put_bundle(f, 2, with_window_bytes, keep) == CUBBY_OK);
    REQUIRE(cubby_drain(f.h.rt, -1) == CUBBY_OK);
  }
  if (keep < CUBBY_KEEP_RESTART) return;
  block_fixture f(0, 64, 3, tiers);
  CHECK(hits(f, 2, {everywhere, everywhere}) == 2);
  CHECK(hits(f, 2, {everywhere, everywhere, everywhere}) == 1);
  std::string got(with_window_bytes, 'x');
  REQUIRE(get(f, 2, got) == CUBBY_OK);
  CHECK(got == content_of(2).substr(0, with_window_bytes));
}

TEST_CASE("a block that is pinned does not change its parts") {
  block_fixture f(0, 64, 3, {{}, 0, 8 * mib});
  REQUIRE(put_bundle(f, 1, attention_bytes) == CUBBY_OK);
  const block_item one(f.space, key_of(1), {}, {});
  cubby_pins pins = 0;
  const void *at[3] = {};
  cubby_ticket ticket = 0;
  REQUIRE(cubby_pin(f.h.rt, &one.item, 1, f.host, nullptr, &pins, at, &ticket) == CUBBY_OK);
  CHECK(put_bundle(f, 1, whole_bytes) == CUBBY_ERR_BUSY);
  CHECK(hits(f, 1, {everywhere, everywhere}) == 0);
  REQUIRE(cubby_unpin(f.h.rt, pins, 0, 0, nullptr) == CUBBY_OK);
  CHECK(put_bundle(f, 1, whole_bytes) == CUBBY_OK);
  CHECK(hits(f, 1, {everywhere, everywhere}) == 1);
}

TEST_CASE("a put of more parts that finds no memory leaves the block as it is") {
  const store_directory there;
  block_fixture f(GENERATE(0u, 1u), 64, 3, {there.path, 32 * mib, 3 * block_bytes});
  REQUIRE(put_bundle(f, 1, attention_bytes, CUBBY_KEEP_RESTART) == CUBBY_OK);
  std::vector<cubby_pins> all;
  cubby_status pinned = CUBBY_OK;
  for (uint32_t i = 101; i < 110 && pinned == CUBBY_OK; ++i) {  // until memory is full of them
    if (put(f, i, content_of(i), {}, 0, CUBBY_KEEP_CACHE) != CUBBY_OK) break;
    const block_item one(f.space, key_of(i), {}, {});
    const void *addr[3] = {};
    cubby_ticket ticket = 0;
    all.emplace_back();
    pinned = cubby_pin(f.h.rt, &one.item, 1, f.host, nullptr, &all.back(), addr, &ticket);
  }
  REQUIRE(pinned == CUBBY_OK);
  REQUIRE(all.size() >= 2);
  CHECK(put_bundle(f, 1, whole_bytes, CUBBY_KEEP_SESSION) == CUBBY_ERR_BUSY);
  CHECK(put_bundle(f, 1, whole_bytes, CUBBY_KEEP_RESTART) == CUBBY_ERR_BUSY);
  CHECK(hits(f, 1, {everywhere}) == 1);
  for (const cubby_pins one : all) REQUIRE(cubby_unpin(f.h.rt, one, 0, 0, nullptr) == CUBBY_OK);
  std::string got(attention_bytes, 'x');
  REQUIRE(get(f, 1, got) == CUBBY_OK);
  CHECK(got == content_of(1).substr(0, attention_bytes));
  REQUIRE(put_bundle(f, 1, whole_bytes, CUBBY_KEEP_RESTART) == CUBBY_OK);
  CHECK(hits(f, 1, {everywhere, everywhere, everywhere}) == 1);
}

TEST_CASE("a put that is wrong, or has fewer parts, leaves the block as it is") {
  const store_directory there;
  block_fixture f(0, 64, 3, {there.path, 32 * mib, 4 * mib});
  const auto keep = uint8_t{CUBBY_KEEP_RESTART};
  REQUIRE(put_bundle(f, 1, whole_bytes, keep) == CUBBY_OK);
  REQUIRE(put_bundle(f, 2, attention_bytes, keep) == CUBBY_OK);
  CHECK(put(f, 2, content_of(2), key_of(7), 0, keep) == CUBBY_ERR_INVALID);  // another parent
  CHECK(hits(f, 2, {everywhere}) == 2);
  CHECK(put_bundle(f, 1, attention_bytes, CUBBY_KEEP_DURABLE) == CUBBY_ERR_INVALID);
  CHECK(explain().find("put all of them") != std::string::npos);
  CHECK(hits(f, 1, {everywhere, everywhere, everywhere}) == 1);
  std::string got(whole_bytes, 'x');
  REQUIRE(get(f, 1, got) == CUBBY_OK);
  CHECK(got == content_of(1));
}

TEST_CASE("a child that waits for its parent over a restart keeps the parts it has") {
  const store_directory there;
  const block_tiers tiers{there.path, 32 * mib, 4 * mib};
  {
    block_fixture f(0, 64, 3, tiers);
    REQUIRE(put_bundle(f, 2, attention_bytes, CUBBY_KEEP_RESTART) == CUBBY_OK);
  }
  block_fixture f(0, 64, 3, tiers);
  REQUIRE(put_bundle(f, 1, whole_bytes) == CUBBY_OK);
  CHECK(hits(f, 2, {everywhere}) == 2);
  CHECK(hits(f, 2, {everywhere, everywhere}) == 1);
  REQUIRE(put_bundle(f, 2, whole_bytes, CUBBY_KEEP_RESTART) == CUBBY_OK);
  CHECK(hits(f, 2, {everywhere, everywhere}) == 2);
  std::string got(whole_bytes, 'x');
  REQUIRE(get(f, 2, got) == CUBBY_OK);
  CHECK(got == content_of(2));
}

TEST_CASE("rules that do not fit the bank are refused") {
  block_fixture f(0, 64, 3, {{}, 0, 8 * mib});
  const std::string name = key_of(1);
  const cubby_key key = as_key(name);
  const cubby_part_rule rules[4] = {everywhere, everywhere, everywhere, everywhere};
  const cubby_part_rule none[1] = {nowhere};
  cubby_match_rule rule{};
  rule.struct_size = sizeof rule;
  rule.parts = rules;
  uint32_t found = 7;
  SECTION("no rule") {}
  SECTION("more rules than parts") { rule.part_count = 4; }
  SECTION("two ways to say it") {
    rule.part_count = 3;
    rule.trailing_count = 2;
  }
  SECTION("nothing is needed") {
    rule.parts = none;
    rule.part_count = 1;
  }
  CHECK(cubby_match(f.h.rt, f.space, &key, 1, &rule, &found, nullptr) == CUBBY_ERR_INVALID);
  CHECK(explain().find("cubby_match_rule") != std::string::npos);
  CHECK(found == 0);
}

}  // namespace bundles_test
