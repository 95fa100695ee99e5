// Which blocks are not read again at once, and when a disk is bypassed and probed.
#include "engine/failed_reads.hpp"

#include "support/catch.hpp"

namespace failed_reads_test {

using cubby::engine::failed_reads;

namespace {

constexpr uint64_t pause_ns = failed_reads::pause_ns;

/// Bypassed from `now_ns` on.
void fail_disk(failed_reads &of, uint64_t now_ns) {
  for (uint32_t i = 0; i + 1 < failed_reads::failures_max; ++i) CHECK_FALSE(of.failed(i, now_ns));
  CHECK(of.failed(failed_reads::failures_max, now_ns));
}

}  // namespace

TEST_CASE("one block that fails is left alone for a while, others are read") {
  failed_reads of;
  CHECK_FALSE(of.degraded());
  CHECK_FALSE(of.failed(7, 100));
  CHECK(of.degraded());
  CHECK(of.knows(7));
  CHECK_FALSE(of.allows(7, 100 + pause_ns - 1));
  CHECK(of.allows(7, 100 + pause_ns));
  CHECK(of.allows(8, 100));
  CHECK_FALSE(of.succeeded(8));
  CHECK_FALSE(of.degraded());
  CHECK_FALSE(of.allows(7, 100));  // that another could be read says nothing of it
  of.forget(7);
  CHECK(of.allows(7, 100));
  CHECK_FALSE(of.knows(7));
}

TEST_CASE("failures count as long as none is read between them") {
  failed_reads of;
  for (uint32_t i = 0; i < 100; ++i) {
    CHECK_FALSE(of.failed(i, i));
    if (i % 3 == 2) of.succeeded(1000);
  }
  CHECK_FALSE(of.bypassed());
}

TEST_CASE("a block that fails in many pieces is one block") {
  failed_reads of;
  for (uint32_t i = 0; i < 100; ++i) CHECK_FALSE(of.failed(7, i));
  CHECK(of.degraded());
  CHECK_FALSE(of.bypassed());
}

TEST_CASE("a bypassed disk is probed by one read a pause, and the pauses grow to a minute") {
  failed_reads of;
  fail_disk(of, 0);
  uint64_t now = 0, wait = pause_ns;
  for (int probe = 0; probe < 10; ++probe) {
    CHECK_FALSE(of.allows(99, now + wait - 1));
    now += wait;
    CHECK(of.allows(99, now));
    CHECK_FALSE(of.allows(98, now));  // one is enough
    CHECK_FALSE(of.failed(99, now));  // said before
    wait = std::min(2 * wait, failed_reads::pause_max_ns);
  }
  CHECK(wait == failed_reads::pause_max_ns);
  CHECK(of.succeeded(99));
  CHECK_FALSE(of.bypassed());
  CHECK(of.allows(98, now));
  CHECK_FALSE(of.succeeded(99));  // said before
  fail_disk(of, now);
  CHECK(of.allows(99, now + pause_ns));  // short again
}

TEST_CASE("more blocks than are remembered are read again") {
  failed_reads of;
  for (uint64_t i = 0; i < 10'000; ++i) {
    of.failed(i, 0);
    of.succeeded(1'000'000);
  }
  CHECK_FALSE(of.allows(0, 1));
  CHECK(of.allows(9'999, 1));
  of.failed(20'000, 2 * pause_ns);  // the old ones make room
  CHECK_FALSE(of.allows(20'000, 2 * pause_ns));
}

}  // namespace failed_reads_test
