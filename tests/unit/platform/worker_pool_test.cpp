// Small jobs on other threads, many and quickly enough for the thread sanitizer to see one thread's
// work meet another's.
#include "platform/worker_pool.hpp"

#include <atomic>

#include "support/catch.hpp"

namespace worker_pool_test {

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
  thread_pool workers(2);
  CHECK(workers.thread_count() >= 1);
  uint32_t sum = 0;
  for (uint32_t i = 0; i < 2000; ++i) {
    const auto one = std::make_shared<counted>(count, i % 3);
    REQUIRE(workers.enqueue(one));
    sum += i % 3;
    if (i % 7 == 0) wait_for(count, sum);
  }
  wait_for(count, sum);
  CHECK(count.load() == sum);
}

TEST_CASE("a pool of no threads has one, and a pool of many has a processor less than there are") {
  CHECK(thread_pool(0).thread_count() == 1);
  CHECK(thread_pool(100000).thread_count() < 100000);
}

TEST_CASE("a pool that ends waits for the item that runs and leaves the others") {
  struct slow final : work_item {
    std::atomic<uint32_t> started{0}, ended{0};
    void run() noexcept override {
      ++started;
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
      ++ended;
    }
  };
  const auto one = std::make_shared<slow>();
  {
    thread_pool workers(1);
    for (int i = 0; i < 100; ++i) REQUIRE(workers.enqueue(one));
    wait_for(one->started, 1);
  }
  CHECK(one->started == one->ended);
  CHECK(one->ended < 100);
  CHECK(one.use_count() == 1);
}

}  // namespace worker_pool_test
