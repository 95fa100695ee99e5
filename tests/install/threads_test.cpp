// Two runtimes in one process, over the public C++ interface alone: threads come when asked and go.
#include <cubby/cubby.hpp>

#include <chrono>
#include <filesystem>
#include <string>
#include <thread>

#include "support/catch.hpp"

namespace {

long thread_count() {
  long count = 0;
  for (const auto &entry : std::filesystem::directory_iterator("/proc/self/task")) {
    (void)entry;
    ++count;
  }
  return count;
}

/// The kernel takes a moment to drop a joined thread from /proc: ten seconds are no measurement.
bool back_to(long expected) {
  for (int i = 0; i < 1000 && thread_count() > expected; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return thread_count() == expected;
}

}  // namespace

TEST_CASE("two runtimes leave no thread behind") {
  std::thread([] {}).join();  // a thread sanitizer makes a thread of its own with the first one
  const long before = thread_count();
  {
    auto one = cubby::runtime::open();
    auto other = cubby::runtime::open();
    REQUIRE(one);
    REQUIRE(other);
    auto first = one->add_tier({.backend = "host", .name = "host:0", .budget_bytes = 32u << 20});
    auto second = other->add_tier({.backend = "host", .name = "host:0", .budget_bytes = 32u << 20});
    REQUIRE(first);
    REQUIRE(second);
    CHECK(one->drain());
    CHECK(thread_count() >= before + 2);
    CHECK(one->close());
    CHECK_FALSE(one->drain());
    CHECK(other->describe(*second));
  }
  CHECK(back_to(before));
}

TEST_CASE("a runtime that its caller drives has no thread at all") {
  std::thread([] {}).join();
  const long before = thread_count();
  auto rt = cubby::runtime::open({.pump = cubby::pump::caller});
  REQUIRE(rt);
  REQUIRE(rt->poll());
  CHECK(thread_count() == before);
}

TEST_CASE("objects that outlive their runtime hold nothing") {
  cubby::completion_queue queue;
  cubby::pins held;
  {
    auto rt = cubby::runtime::open().value();
    auto added = rt.add_queue(8);
    REQUIRE(added);
    queue = std::move(*added);
    CHECK(queue.fd() >= 0);
  }
  cubby_done done[1];
  CHECK(queue.take(done) == 0);
  CHECK(queue.wait(std::chrono::nanoseconds{0}).why().status() == CUBBY_ERR_SHUTDOWN);
  CHECK(held.size() == 0);
  CHECK(held.bytes(0).empty());
}

TEST_CASE("errors tell themselves, by return or by throw") {
  auto rt = cubby::runtime::open().value();
  const auto tier = rt.add_tier({.backend = "no such backend", .name = "host:0"});
  REQUIRE_FALSE(tier);
  CHECK(tier.why().status() < 0);
  CHECK(std::string(tier.why().text()).find("no such backend") != std::string::npos);
  try {
    (void)tier.value();
    FAIL("value() of an error came back");
  } catch (const cubby::failure &thrown) {
    CHECK(thrown.why().status() == tier.why().status());
    CHECK(std::string(thrown.what()) == tier.why().text());
  }
}
