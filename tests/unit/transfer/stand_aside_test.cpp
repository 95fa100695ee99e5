// When a tier is gone past, and when it is used again.
#include "transfer/stand_aside.hpp"

#include "support/catch.hpp"

namespace stand_aside_test {

using namespace cubby::transfer;

namespace {

constexpr uint64_t mebi = 1 << 20;

/// Two ways to the same place, of so many nanoseconds a MiB.
struct two_ways {
  way_cost through, past;
  stand_aside seen;
  uint64_t now_ns = 1'000'000;

  void move(way_cost &over, uint64_t ns) {
    over.started(now_ns);
    now_ns += ns;
    over.ended(mebi, now_ns, true);
  }
  stand_aside::change both(uint64_t through_ns, uint64_t past_ns) {
    move(through, through_ns);
    move(past, past_ns);
    return seen.weigh(through, past, now_ns);
  }
};

}  // namespace

TEST_CASE("what lies side by side on a way takes its time once") {
  way_cost of;
  CHECK(of.ns_per_byte() == 0);
  of.started(1000);
  of.started(1000);
  CHECK_FALSE(of.ended(mebi, 1000 + mebi, true));  // the second is still on it
  CHECK(of.seen_count() == 0);
  CHECK(of.ended(mebi, 1000 + 2 * mebi, true));
  CHECK(of.seen_count() == 1);
  CHECK(of.ns_per_byte() == 1.0);
}

TEST_CASE("a way that never rests is measured all the same") {
  way_cost of;
  uint64_t now_ns = 5;
  of.started(now_ns);
  for (int i = 0; i < 64; ++i) {
    of.started(now_ns);
    of.ended(mebi, now_ns += 2 * mebi, true);
  }
  CHECK(of.seen_count() == 4);
  CHECK(of.ns_per_byte() > 1.99);
  CHECK(of.ns_per_byte() < 2.01);
}

TEST_CASE("what did not arrive says nothing") {
  way_cost of;
  of.started(0);
  of.ended(mebi, 1'000'000'000, false);
  CHECK(of.seen_count() == 0);
  CHECK(of.ns_per_byte() == 0);
}

TEST_CASE("where the clock has not moved nothing is measured, and what came counts once it has") {
  way_cost of;
  of.started(5);
  of.ended(mebi, 5, true);
  CHECK(of.seen_count() == 0);
  CHECK(of.ns_per_byte() == 0);
  of.started(5);
  of.started(5);
  of.ended(64 * mebi, 5, true);  // enough for a measurement
  CHECK(of.seen_count() == 0);
  of.ended(64 * mebi, 5 + 256 * mebi, true);
  CHECK(of.seen_count() == 1);
  CHECK(of.ns_per_byte() == 2.0);
}

TEST_CASE("a tier that is dearer all the time is gone past, and not before that is sure") {
  two_ways of;
  CHECK(of.seen.weigh(of.through, of.past, of.now_ns) == stand_aside::change::none);
  uint32_t times = 0;
  while (of.both(300'000, 200'000) == stand_aside::change::none) {
    CHECK(of.seen.may_use(of.now_ns));
    ++times;
  }
  CHECK(times + 1 == stand_aside::measured_min);
  CHECK(of.seen.aside());
  CHECK(of.seen.begun_count() == 1);
  CHECK_FALSE(of.seen.may_use(of.now_ns));
  CHECK(of.seen.past_count() == 1);
}

TEST_CASE("one slow moment does not make a tier stand aside") {
  two_ways of;
  for (int i = 0; i < 200; ++i) {
    const uint64_t ns = i % 20 == 0 ? 900'000 : 100'000;
    CHECK(of.both(ns, 200'000) == stand_aside::change::none);
  }
  CHECK_FALSE(of.seen.aside());
}

TEST_CASE("a little dearer is not worth a change, in either direction") {
  two_ways of;
  for (int i = 0; i < 100; ++i) of.both(220'000, 200'000);
  CHECK_FALSE(of.seen.aside());
  for (int i = 0; i < 100; ++i) of.both(400'000, 200'000);
  REQUIRE(of.seen.aside());
  for (int i = 0; i < 100; ++i) of.both(220'000, 200'000);
  CHECK(of.seen.aside());
}

TEST_CASE("it is probed after pauses, and comes back when the load has changed") {
  two_ways of;
  while (!of.seen.aside()) of.both(600'000, 200'000);
  uint32_t probes = 0;
  const uint64_t until_ns = of.now_ns + 2'000'000'000;
  for (; of.now_ns < until_ns; of.now_ns += 1'000'000) probes += of.seen.may_use(of.now_ns);
  CHECK(probes >= 3);
  CHECK(probes <= 6);  // each pause is twice the one before
  auto change = stand_aside::change::none;
  for (int i = 0; i < 60 && change == stand_aside::change::none; ++i) {
    of.now_ns += probe_clock::pause_max_ns;
    REQUIRE(of.seen.may_use(of.now_ns));
    change = of.both(50'000, 200'000);
  }
  CHECK(change == stand_aside::change::over);
  CHECK(of.seen.may_use(of.now_ns));
  CHECK(of.seen.begun_count() == 1);
}

TEST_CASE("the same measurements are weighed once") {
  two_ways of;
  of.both(600'000, 200'000);
  for (int i = 0; i < 100; ++i) of.seen.weigh(of.through, of.past, of.now_ns);
  CHECK_FALSE(of.seen.aside());
}

TEST_CASE("who weighs by other measures says so, and begins once") {
  stand_aside of;
  CHECK(of.set(true, 0));
  CHECK_FALSE(of.set(true, 5));
  CHECK(of.begun_count() == 1);
  CHECK_FALSE(of.may_use(1));
  CHECK(of.may_use(probe_clock::pause_min_ns));
  CHECK_FALSE(of.may_use(probe_clock::pause_min_ns + 1));
  CHECK(of.set(false, 7));
  CHECK(of.may_use(8));
}

TEST_CASE("answers that differ each time change nothing, and as many in a row do") {
  stand_aside of;
  for (uint32_t i = 0; i < 10 * stand_aside::measured_min; ++i) CHECK_FALSE(of.judged(i % 2, i));
  CHECK_FALSE(of.aside());
  CHECK_FALSE(of.judged(false, 0));
  for (uint32_t i = 1; i < stand_aside::measured_min; ++i) CHECK_FALSE(of.judged(true, i));
  CHECK(of.judged(true, 0));
  CHECK(of.aside());
  CHECK_FALSE(of.judged(true, 1));
  for (uint32_t i = 1; i < stand_aside::measured_min; ++i) CHECK_FALSE(of.judged(false, i));
  CHECK(of.aside());
  CHECK(of.judged(false, 0));
  CHECK_FALSE(of.aside());
  CHECK(of.begun_count() == 1);
}

TEST_CASE("to look whether a probe is due spends none") {
  stand_aside of;
  CHECK(of.would_use(0));
  REQUIRE(of.set(true, 0));
  CHECK_FALSE(of.would_use(1));
  CHECK(of.past_count() == 0);
  for (int i = 0; i < 3; ++i) CHECK(of.would_use(probe_clock::pause_min_ns));
  CHECK(of.may_use(probe_clock::pause_min_ns));
  CHECK_FALSE(of.would_use(probe_clock::pause_min_ns));
}

}  // namespace stand_aside_test
