// Handles of what is gone: a bank that was removed, a queue that was removed while somebody waits
// for it, and what a child process has of its parent's.
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "unit/api/runtime_fixture.hpp"

namespace handles_test {

using namespace api_test;

namespace {

cubby_status add_small_bank(cubby_handle *rt, cubby_bank &out) {
  cubby_bank_desc desc{};
  desc.struct_size = sizeof desc;
  desc.name = "small";
  desc.rows = 1;
  desc.columns = 1;
  desc.locker_bytes = 4096;
  return cubby_bank_add(rt, &desc, &out);
}

}  // namespace

TEST_CASE("a bank that was removed stays stale, however many come after it") {
  runtime_fixture h(CUBBY_PUMP_CALLER);
  cubby_bank first = 0;
  REQUIRE(add_small_bank(h.rt, first) == CUBBY_OK);
  REQUIRE(cubby_bank_remove(h.rt, first) == CUBBY_OK);
  uint32_t made_count = 1;
  cubby_bank_desc info{};
  for (;; ++made_count) {
    cubby_bank made = 0;
    if (add_small_bank(h.rt, made) != CUBBY_OK) break;
    if (cubby_bank_info(h.rt, first, &info) != CUBBY_ERR_STALE) break;
    if (cubby_bank_remove(h.rt, made) != CUBBY_OK) break;
  }
  CHECK(made_count == 1023 * 64);
  CHECK(explain().find("65472 bank handles") != std::string::npos);
  CHECK(cubby_bank_info(h.rt, first, &info) == CUBBY_ERR_STALE);
}

TEST_CASE("waiters of a queue that is removed get an error") {
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  runtime_fixture h(pump);
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(h.rt, 4, &queue) == CUBBY_OK);
  std::atomic<bool> waits{false};
  cubby_status waited = CUBBY_OK;
  std::thread waiter([&] {
    waits = true;
    waited = cubby_cq_wait(queue, -1);
  });
  while (!waits) std::this_thread::yield();
  CHECK(cubby_cq_remove(queue) == CUBBY_OK);
  waiter.join();
  CHECK(waited == CUBBY_ERR_STALE);
  CHECK(cubby_cq_remove(queue) == CUBBY_ERR_STALE);
}

// The thread sanitizer does not follow a fork of a process with threads, and the address
// sanitizer's own locks may be held for ever in the child: seen with -Og, at the first fork.
#if !defined(__SANITIZE_THREAD__) && !defined(__SANITIZE_ADDRESS__)
TEST_CASE("a child gets FORKED for its parent's queue, and has queues of its own") {
  runtime_fixture h(CUBBY_PUMP_THREAD);
  cubby_cq *queue = nullptr;
  REQUIRE(cubby_cq_add(h.rt, 4, &queue) == CUBBY_OK);
  std::atomic<bool> stop{false};
  std::vector<std::thread> busy;
  for (uint32_t i = 0; i < 2; ++i) {
    busy.emplace_back([&, i] {
      cubby_done done{};
      while (!stop) {
        cubby_cq_take(queue, &done, 1);
        cubby_cq *other = nullptr;
        if (i == 0 && cubby_cq_add(h.rt, 1, &other) == CUBBY_OK) cubby_cq_remove(other);
      }
    });
  }
  for (uint32_t i = 0; i < 100; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      alarm(20);
      cubby_done done{};
      if (cubby_cq_take(queue, &done, 1) != 0) _exit(2);
      if (cubby_cq_wait(queue, -1) != CUBBY_ERR_FORKED) _exit(3);
      if (cubby_cq_remove(queue) != CUBBY_ERR_FORKED) _exit(4);
      if (cubby_cq_fd(queue) != -1) _exit(5);
      cubby_handle *own = nullptr;
      cubby_cq *made = nullptr;
      if (cubby_open(nullptr, &own) != CUBBY_OK) _exit(6);
      if (cubby_cq_add(own, 4, &made) != CUBBY_OK) _exit(7);
      if (cubby_close(own) != CUBBY_OK || cubby_cq_remove(made) != CUBBY_OK) _exit(8);
      _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    INFO("status of child " << i << ": " << status);
    CHECK(status == 0);
  }
  stop = true;
  for (std::thread &thread : busy) thread.join();
  CHECK(cubby_cq_remove(queue) == CUBBY_OK);
}
#endif

}  // namespace handles_test
