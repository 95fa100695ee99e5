#include "store/durable/extent_map.hpp"

#include <map>
#include <vector>

#include "base/prng.hpp"
#include "support/catch.hpp"

namespace extent_map_test {

using cubby::store::extent_map;

TEST_CASE("an extent map gives runs that are free and takes back what it gave") {
  extent_map map(10, 20);
  CHECK(map.free_count() == 10);
  CHECK(map.take(11) == std::nullopt);
  const auto first = map.take(4);
  const auto second = map.take(6);
  REQUIRE((first && second));
  CHECK(*first == 10);
  CHECK(*second == 14);
  CHECK(map.take(1) == std::nullopt);
  map.give(*first, 4);
  CHECK(map.take(5) == std::nullopt);
  map.give(*second, 6);
  CHECK(map.take(10) == 10);
}

TEST_CASE("an extent map takes a named run only where all of it is free") {
  extent_map map(2, 200);
  CHECK(map.take_at(60, 10));
  CHECK_FALSE(map.take_at(69, 1));
  CHECK_FALSE(map.take_at(55, 10));
  CHECK_FALSE(map.take_at(1, 1));
  CHECK_FALSE(map.take_at(199, 2));
  CHECK_FALSE(map.take_at(~0ull, 2));
  CHECK(map.take_at(199, 1));
  CHECK(map.free_count() == 198 - 11);
}

TEST_CASE("an extent map over several regions agrees with a list of pages") {
  const uint64_t end = 3 * extent_map::region_pages + 77;
  extent_map map(5, end);
  std::vector<bool> taken(end, false);
  std::map<uint64_t, uint64_t> runs;
  cubby::base::prng random(3);
  uint64_t free_pages = end - 5;
  uint64_t refused = 0;
  for (int i = 0; i < 60000; i++) {
    const uint64_t count = random.chance(1, 40) ? 1 + random.below(9000) : 1 + random.below(40);
    if (random.chance(11, 20)) {
      const auto first = map.take(count);
      if (!first) {
        ++refused;
        continue;
      }
      REQUIRE(*first >= 5);
      REQUIRE(*first + count <= end);
      for (uint64_t at = *first; at < *first + count; at++) {
        REQUIRE_FALSE(taken[at]);
        taken[at] = true;
      }
      runs[*first] = count;
      free_pages -= count;
    } else if (!runs.empty()) {
      auto one = runs.lower_bound(random.below(end));
      if (one == runs.end()) one = runs.begin();
      map.give(one->first, one->second);
      for (uint64_t at = one->first; at < one->first + one->second; at++) taken[at] = false;
      free_pages += one->second;
      runs.erase(one);
    }
    REQUIRE(map.free_count() == free_pages);
  }
  CHECK(refused > 10);
  // What it refuses is nowhere: the longest run there is, and one page more.
  uint64_t longest = 0, run = 0;
  for (uint64_t at = 5; at < end; at++) {
    run = taken[at] ? 0 : run + 1;
    longest = std::max(longest, run);
  }
  if (longest < extent_map::region_pages) CHECK_FALSE(map.take(longest + 1));
  CHECK(map.take(std::min<uint64_t>(longest, extent_map::region_pages)));
}

}  // namespace extent_map_test
