// Object numbers of banks that come and go.
#include "residency/object_ranges.hpp"

#include "support/catch.hpp"

namespace object_ranges_test {

using cubby::residency::object_ranges;

TEST_CASE("numbers are taken lowest first, and ranges that touch become one") {
  object_ranges some;
  some.reserve(8);
  CHECK(some.take(10, 100) == 0u);
  CHECK(some.take(5, 100) == 10u);
  CHECK(some.take(20, 100) == 15u);
  some.give(0, 10);
  CHECK(some.take(4, 100) == 0u);
  some.give(15, 20);
  CHECK(some.free_ranges() == 1);
  CHECK(some.end() == 15);
  some.give(10, 5);
  CHECK(some.take(31, 100) == 4u);
  CHECK(some.free_ranges() == 0);
  CHECK(some.end() == 35);
}

TEST_CASE("ranges before, behind and between others become one with them") {
  object_ranges some;
  some.reserve(8);
  for (uint32_t i = 0; i < 6; ++i) REQUIRE(some.take(10, 100) == 10 * i);
  some.give(10, 10);
  some.give(30, 10);
  CHECK(some.free_ranges() == 2);
  some.give(20, 10);
  CHECK(some.free_ranges() == 1);
  some.give(0, 10);
  CHECK(some.free_ranges() == 1);
  CHECK(some.take(40, 100) == 0u);
  CHECK(some.end() == 60);
}

TEST_CASE("the end is behind the last number that is taken, whatever was taken before") {
  object_ranges some;
  some.reserve(8);
  CHECK(some.take(10, 100) == 0u);
  CHECK(some.take(10, 100) == 10u);
  some.give(10, 10);
  CHECK(some.end() == 10);
  CHECK(some.free_ranges() == 0);
  CHECK(some.take(30, 100) == 10u);
  CHECK(some.take(5, 100) == 40u);
  CHECK(some.end() == 45);
  some.give(10, 30);
  CHECK(some.end() == 45);
  some.give(40, 5);
  CHECK(some.end() == 10);
  CHECK(some.free_ranges() == 0);
  some.give(0, 10);
  CHECK(some.end() == 0);
}

TEST_CASE("what does not fit below the limit is refused, and nothing is taken") {
  object_ranges some;
  some.reserve(8);
  CHECK_FALSE(some.take(100, 100));
  CHECK(some.take(99, 100) == 0u);
  CHECK_FALSE(some.take(1, 100));
  some.give(0, 99);
  CHECK_FALSE(some.take(~uint32_t{0}, 100));
  CHECK(some.take(99, 100) == 0u);
}

}  // namespace object_ranges_test
