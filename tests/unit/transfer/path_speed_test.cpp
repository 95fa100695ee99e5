// What a path's completions say of its speed.
#include "transfer/path_speed.hpp"

#include <deque>

#include "support/catch.hpp"

namespace path_speed_test {

using namespace cubby::transfer;

namespace {

constexpr uint64_t block = 256 << 10;

/// A device of a known speed with a latency of its own; completions are found in batches, as a pump
/// finds them that verifies in between.
struct device {
  double bytes_per_ns, latency_ns;
  uint64_t now_ns = 1'000'000;

  void read(path_speed &of, uint32_t count, uint32_t deep, uint32_t batch) {
    uint32_t started = 0, done = 0;
    const auto begun = static_cast<double>(now_ns);
    for (; started < std::min(deep, count); ++started) of.started(block, now_ns);
    while (done < count) {
      const uint32_t some = std::min(batch, count - done);
      done += some;
      now_ns = static_cast<uint64_t>(begun + latency_ns +
                                     static_cast<double>(done) * block / bytes_per_ns);
      for (uint32_t i = 0; i < some; ++i) {
        if (started < count) ++started, of.started(block, now_ns);
        of.finished(block, now_ns);
      }
    }
    now_ns += 10'000'000;
  }
};

void check_near(double seen, double wanted, double share) {
  INFO(seen << " is to be " << wanted);
  CHECK(seen > wanted * (1 - share));
  CHECK(seen < wanted * (1 + share));
}

}  // namespace

TEST_CASE("bursts show speed and latency, however completions are found") {
  const uint32_t batch = GENERATE(1u, 3u, 8u);
  const uint32_t count = GENERATE(16u, 64u, 400u);
  device of{2.0, 300'000};
  path_speed seen;
  CHECK_FALSE(seen.known());
  CHECK(seen.estimate_ns(1) == ~uint64_t{0});
  for (int i = 0; i < 10; ++i) of.read(seen, count, 32, batch);
  REQUIRE(seen.known());
  for (const double blocks : {1., 16., 64.}) {
    check_near(static_cast<double>(seen.estimate_ns(static_cast<uint64_t>(blocks) * block)),
               300'000 + blocks * block / 2.0, 0.1);
  }
}

TEST_CASE("lone reads are a guess until a burst shows more") {
  device of{2.0, 300'000};
  path_speed seen;
  for (int i = 0; i < 4; ++i) of.read(seen, 1, 1, 1);
  check_near(static_cast<double>(seen.estimate_ns(block)), 300'000 + block / 2.0, 0.05);
  of.read(seen, 64, 32, 4);
  of.read(seen, 64, 32, 4);
  check_near(static_cast<double>(seen.estimate_ns(64 * block)), 300'000 + 64.0 * block / 2.0, 0.1);
  check_near(static_cast<double>(seen.estimate_ns(block)), 300'000 + block / 2.0, 0.15);
}

TEST_CASE("a path that becomes slower is noticed within some bursts") {
  device fast{4.0, 100'000};
  path_speed seen;
  for (int i = 0; i < 10; ++i) fast.read(seen, 64, 32, 4);
  device slow{1.0, 400'000, fast.now_ns};
  for (int i = 0; i < 12; ++i) slow.read(seen, 64, 32, 4);
  check_near(static_cast<double>(seen.estimate_ns(64 * block)), 400'000 + 64.0 * block, 0.1);
}

TEST_CASE("completions of one moment are no speed at all") {
  path_speed seen;
  for (int i = 0; i < 32; ++i) seen.started(block, 5'000);
  for (int i = 0; i < 32; ++i) seen.finished(block, 4'000);  // before, even
  CHECK(seen.known());
  CHECK(seen.estimate_ns(0) < 1'000'000);
  device of{2.0, 300'000};
  for (int i = 0; i < 3; ++i) of.read(seen, 64, 32, 4);
  check_near(static_cast<double>(seen.estimate_ns(64 * block)), 300'000 + 64.0 * block / 2.0, 0.1);
}

TEST_CASE("what is awaited comes before, and what will not come is no arrival") {
  device of{2.0, 300'000};
  path_speed seen;
  for (int i = 0; i < 4; ++i) of.read(seen, 64, 32, 4);
  const uint64_t alone = seen.estimate_ns(block);
  for (int i = 0; i < 8; ++i) seen.started(block, of.now_ns);
  check_near(static_cast<double>(seen.estimate_ns(block)),
             static_cast<double>(alone) + 8.0 * block / 2.0, 0.02);
  for (int i = 0; i < 8; ++i) seen.finished(block, of.now_ns + 500'000'000, false);
  CHECK(seen.estimate_ns(block) == alone);
}

TEST_CASE("what was assumed of a path ends with the first thing that comes") {
  path_speed seen;
  seen.assume(7.0, 50'000);
  check_near(static_cast<double>(seen.estimate_ns(1 << 20)), 50'000 + (1 << 20) / 7.0, 0.01);
  seen.started(1 << 20, 1'000);
  seen.finished(1 << 20, 10'001'000);
  check_near(static_cast<double>(seen.estimate_ns(1 << 20)), 10'000'000, 0.01);
  seen.assume(7.0, 50'000);  // too late
  check_near(static_cast<double>(seen.estimate_ns(1 << 20)), 10'000'000, 0.01);
}

}  // namespace path_speed_test
