// Loops and small jobs on other threads, many and quickly enough for the thread sanitizer to see
// one thread's work meet another's.
#include "platform/parallel.hpp"

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "support/catch.hpp"

using namespace cubby::platform;

namespace {

class counted final : public work_item {
 public:
  counted(std::atomic<uint32_t> &count, uint32_t value) : count_(count), value_(value) {}
  void run() noexcept override { count_.fetch_add(value_); }

 private:
  std::atomic<uint32_t> &count_;
  const uint32_t value_;
};

void wait_for(const std::atomic<uint32_t> &count, uint32_t value) {
  while (count.load() < value) std::this_thread::yield();
}

}  // namespace

TEST_CASE("every item runs once, whether the workers are idle or busy") {
  std::atomic<uint32_t> count{0};
  const auto workers = worker_pool::open(2);
  if (workers == nullptr) {
    WARN("this build has no worker threads");
    return;
  }
  CHECK(workers->thread_count() >= 1);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 2000; ++i) {
    const auto one = std::make_shared<counted>(count, i % 3);
    REQUIRE(workers->enqueue(one));
    sum += i % 3;
    if (i % 7 == 0) wait_for(count, sum);
  }
  wait_for(count, sum);
  CHECK(count.load() == sum);
}

TEST_CASE("a loop does every piece once, and what it wrote is there afterwards") {
  for (uint32_t thread_count : {1u, 2u, 8u}) {
    for (uint32_t round = 0; round < 50; ++round) {
      std::vector<uint32_t> pieces(64);
      const uint32_t ran = parallel_for(pieces.size(), thread_count, {}, [&](uint64_t i) {
        ++pieces[i];
        std::this_thread::yield();
      });
      REQUIRE(ran >= 1);
      REQUIRE(ran <= thread_count);
      REQUIRE(pieces == std::vector<uint32_t>(64, 1));
    }
  }
}

TEST_CASE("a loop of nothing runs nothing") {
  CHECK(parallel_for(0, 4, {}, [](uint64_t) { FAIL("there is no piece"); }) == 1);
}
