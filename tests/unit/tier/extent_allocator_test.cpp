// Runs of units: best fit, joining of neighbours, and books that agree with a naive model.
#include "tier/extent_allocator.hpp"

#include <vector>

#include "base/prng.hpp"
#include "support/catch.hpp"

namespace extent_allocator_test {

using cubby::tier::extent_allocator;

TEST_CASE("the smallest hole that holds a run is taken, and neighbours join again") {
  extent_allocator frames;
  frames.add_block(100, 20);
  const auto a = frames.take(4), b = frames.take(2), c = frames.take(4);
  REQUIRE((a && b && c));
  frames.give(*b, 2);
  CHECK(frames.take(2) == b);  // not from the hole of ten
  frames.give(*a, 4);
  frames.give(*b, 2);
  CHECK(frames.fits(10));
  CHECK_FALSE(frames.fits(11));
  CHECK(frames.would_fit(*c, 4, 20));
  CHECK_FALSE(frames.would_fit(*c, 4, 21));
  frames.give(*c, 4);
  CHECK(frames.free_count() == 20);
  CHECK(frames.take(20) == 100);
}

TEST_CASE("blocks never join, and one that is in use is not forgotten") {
  extent_allocator frames;
  frames.add_block(0, 8);
  frames.add_block(8, 8);
  CHECK_FALSE(frames.take(9));
  const auto one = frames.take(8);
  REQUIRE(one);
  CHECK_FALSE(frames.remove_block(*one));
  CHECK(frames.remove_block(8 - *one));
  CHECK(frames.free_count() == 0);
  frames.give(*one, 8);
  CHECK(frames.remove_block(*one));
  CHECK_FALSE(frames.take(1));
}

TEST_CASE("no unit is ever given out twice") {
  cubby::base::prng random(7);
  constexpr uint64_t units = 512;
  extent_allocator frames;
  frames.add_block(0, units);
  std::vector<bool> taken(units);
  std::vector<std::pair<uint64_t, uint64_t>> runs;
  uint64_t free_count = units;
  for (int step = 0; step < 20000; ++step) {
    if (random.below(2) == 0 || runs.empty()) {
      const uint64_t size = 1 + random.below(24);
      const bool fits = frames.fits(size);
      const auto first = frames.take(size);
      REQUIRE(first.has_value() == fits);
      if (!first) continue;
      for (uint64_t i = *first; i < *first + size; ++i) {
        REQUIRE_FALSE(taken[i]);
        taken[i] = true;
      }
      runs.emplace_back(*first, size);
      free_count -= size;
    } else {
      const size_t at = random.below(runs.size());
      const auto [first, size] = runs[at];
      for (uint64_t i = first; i < first + size; ++i) taken[i] = false;
      frames.give(first, size);
      free_count += size;
      runs[at] = runs.back();
      runs.pop_back();
    }
    REQUIRE(frames.free_count() == free_count);
  }
}

}  // namespace extent_allocator_test
