// What every backend must keep, whatever it can do. A test program includes file_suite.hpp or
// memory_suite.hpp and defines conformance::backend().
#pragma once
#include <sys/eventfd.h>
#include <unistd.h>

#include <map>
#include <thread>

#include "support/catch.hpp"
#include "support/services.hpp"

namespace conformance {

using cubby_test::test_services;

const cubby_backend_ops *backend();  // defined by each test program

struct opened {
  const cubby_backend_ops &ops = *backend();
  test_services house;
  cubby_backend_services services = house.services();
  cubby_backend *self = nullptr;
  int32_t status = 0;

  explicit opened(uint32_t depth = 0, uint32_t latency_ns = 0, uint64_t bytes_per_s = 0) {
    cubby_backend_config config{};
    config.struct_size = sizeof config;
    config.device = -1;
    config.name = "test:0";
    config.queue_depth = depth;
    config.emulated_latency_ns = latency_ns;
    config.emulated_bytes_per_s = bytes_per_s;
    status = ops.open(&services, &config, &self);
    if (status != 0) {  // as where io_uring is blocked: then a reason must have been said
      REQUIRE((status == -ENOSYS || status == -EPERM));
      REQUIRE_FALSE(house.lines.empty());
      WARN("skipped, not available here: " << house.lines.back());
    }
  }
  opened(const opened &) = delete;
  opened &operator=(const opened &) = delete;
  ~opened() {
    if (self != nullptr) ops.close(self);
  }
  explicit operator bool() const { return status == 0; }

  cubby_backend_info info() const {
    cubby_backend_info out{};
    out.struct_size = sizeof out;
    REQUIRE(ops.describe(self, &out) == 0);
    return out;
  }

  // Run all to the end, more than the depth where need be; every cookie must come back just once.
  std::map<uint64_t, cubby_backend_done> run(const std::vector<cubby_backend_io> &ios) {
    std::map<uint64_t, cubby_backend_done> done;
    std::size_t sent = 0;
    const uint64_t give_up = test_services::now() + 20'000'000'000u;
    while (done.size() < ios.size()) {
      REQUIRE(test_services::now() < give_up);
      const auto left = static_cast<uint32_t>(ios.size() - sent);
      sent += ops.submit(self, test_services::now(), ios.data() + sent, left);
      cubby_backend_done out[3];
      uint64_t next = 0;
      const uint32_t count = ops.reap(self, test_services::now(), out, 3, &next);
      for (uint32_t i = 0; i < count; ++i) {
        REQUIRE(done.emplace(out[i].cookie, out[i]).second);
      }
      if (count == 0) REQUIRE(ops.wait(self, 1'000'000'000u, -1) == 0);
    }
    cubby_backend_done extra{};
    uint64_t next = 0;
    REQUIRE(ops.reap(self, test_services::now(), &extra, 1, &next) == 0);
    return done;
  }
  cubby_backend_done run_one(const cubby_backend_io &io) { return run({io}).at(io.cookie); }
};

TEST_CASE("the table of operations is valid") {
  const cubby_backend_ops &ops = *backend();
  CHECK(ops.struct_size == sizeof ops);
  CHECK(ops.abi_version == CUBBY_BACKEND_ABI_VERSION);
  CHECK(ops.name != nullptr);
  const bool memory = (ops.capabilities & CUBBY_CAP_MEMORY) != 0;
  const bool files = (ops.capabilities & CUBBY_CAP_FILES) != 0;
  CHECK(memory != files);
  CHECK((ops.open && ops.close && ops.describe && ops.submit && ops.reap && ops.wait));
  if (memory) CHECK((ops.memory_reserve && ops.memory_release));
  if (files) CHECK((ops.file_open && ops.file_stat && ops.file_close));
}

TEST_CASE("opens, describes itself, closes") {
  for (int round = 0; round < 3; ++round) {
    opened instance(8);
    if (!instance) return;
    const cubby_backend_info info = instance.info();
    CHECK(info.queue_depth == 8);
    CHECK(info.align_bytes != 0);
    CHECK((info.align_bytes & (info.align_bytes - 1)) == 0);
    CHECK(info.io_bytes_max >= (2u << 20));
    CHECK(info.io[0] != '\0');
    CHECK(info.why[0] != '\0');
  }
}

TEST_CASE("wait ends when its time is over") {
  opened instance;
  if (!instance) return;
  const uint64_t start = test_services::now();
  CHECK(instance.ops.wait(instance.self, 20'000'000, -1) == 0);
  CHECK(test_services::now() - start >= 19'000'000);
}

TEST_CASE("wait is woken by wake_fd and does not drain it") {
  opened instance;
  if (!instance) return;
  const int wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  REQUIRE(wake >= 0);
  std::thread waker([wake] {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    eventfd_write(wake, 1);
  });
  const int32_t status = instance.ops.wait(instance.self, ~uint64_t{0}, wake);
  waker.join();
  CHECK(status == 0);
  eventfd_t value = 0;
  CHECK(eventfd_read(wake, &value) == 0);
  CHECK(value == 1);
  close(wake);
}

}  // namespace conformance
