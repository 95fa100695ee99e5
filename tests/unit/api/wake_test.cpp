// What tells whom that something has come: a queue's descriptor, and who wakes the runtime's
// thread.
#include <poll.h>

#include <chrono>
#include <thread>

#include "unit/api/runtime_fixture.hpp"

namespace wake_test {

using namespace api_test;

namespace {

constexpr uint64_t mib = 1 << 20;

bool is_readable(int fd) {
  pollfd one{fd, POLLIN, 0};
  return ::poll(&one, 1, 0) == 1;
}

/// How often this process's other threads have gone to sleep.
uint64_t sleeps_of_others() {
  uint64_t sum = 0;
  for (const auto &task : std::filesystem::directory_iterator("/proc/self/task")) {
    if (task.path().filename() == std::to_string(::gettid())) continue;
    std::ifstream status(task.path() / "status");
    for (std::string line; std::getline(status, line);) {
      if (line.starts_with("voluntary_ctxt_switches:")) sum += std::stoull(line.substr(24));
    }
  }
  return sum;
}

}  // namespace

TEST_CASE("a queue's descriptor is readable while it is not empty, whenever it is asked for") {
  const bool asked_before = GENERATE(true, false);
  weights w;
  runtime_fixture h(CUBBY_PUMP_THREAD);
  const cubby_tier host = h.tier("host:0", 1, 16 * mib);
  h.map(w);
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(h.rt, 8, &queue) == CUBBY_OK);
  int fd = asked_before ? cubby_cq_fd(queue) : -1;
  if (asked_before) CHECK_FALSE(is_readable(fd));
  const auto wanted = h.items({1, 2});
  cubby_how how{};
  how.struct_size = sizeof how;
  how.cq = queue;
  cubby_done done[8];
  for (uint32_t round = 0; round < 2; ++round) {
    REQUIRE(cubby_prefetch(h.rt, &wanted[round], 1, host, &how, nullptr) == CUBBY_PENDING);
    REQUIRE(cubby_cq_wait(queue, 20'000'000'000) == CUBBY_OK);
    fd = cubby_cq_fd(queue);
    CHECK(is_readable(fd));
    CHECK(cubby_cq_take(queue, done, 8) == 1);
    CHECK_FALSE(is_readable(fd));
  }
  CHECK(cubby_cq_remove(queue) == CUBBY_OK);
}

TEST_CASE("what was prefetched in vain does not make every unpin wake the runtime's thread") {
  weights w;
  cubby_config config{};
  config.struct_size = sizeof config;
  config.policy = "moe";  // asks who stays once a use is over
  cubby_handle *rt = nullptr;
  REQUIRE(cubby_open(&config, &rt) == CUBBY_OK);
  runtime_fixture h(rt);
  h.routed_count = 2;
  const cubby_tier host = h.tier("host:0", 1, 64 * mib);
  h.map(w);
  std::vector<const void *> addr;
  cubby_pins pins = 0;
  REQUIRE(h.pin({1, 2}, host, pins, addr) == CUBBY_OK);
  REQUIRE(cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK);
  const auto vain = h.items({5});
  REQUIRE(cubby_prefetch(rt, vain.data(), 1, host, nullptr, nullptr) == CUBBY_PENDING);
  REQUIRE(cubby_drain(rt, 20'000'000'000) == CUBBY_OK);
  const uint64_t before = sleeps_of_others();
  for (uint32_t i = 0; i < 200; ++i) {
    REQUIRE(h.pin({1, 2}, host, pins, addr) == CUBBY_OK);
    REQUIRE(cubby_unpin(rt, pins, 0, 0, nullptr) == CUBBY_OK);
    std::this_thread::sleep_for(std::chrono::microseconds(200));  // it may fall asleep again
  }
  CHECK(sleeps_of_others() - before < 20);
}

}  // namespace wake_test
