// A channel: order of service, room for what comes later, and a backend that overstates.
#include "transfer/channel.hpp"

#include "support/fake_backend.hpp"

namespace channel_test {

using namespace cubby;
using transfer::channel;
using transfer::urgency;

namespace {

cubby_backend_io io_of(uint64_t bytes, uint32_t io_class) {
  cubby_backend_io io{};
  io.op = CUBBY_BACKEND_READ;
  io.bytes = bytes;
  io.io_class = io_class;
  return io;
}

}  // namespace

TEST_CASE("class, then deadline, then arrival") {
  cubby_test::fake_world world;
  const auto backend = cubby_test::open_fake(world);
  channel path(*backend);
  const urgency write_back{CUBBY_WRITE_BACK, 5, 1}, late{CUBBY_DEMAND, 90, 2},
      soon{CUBBY_DEMAND, 10, 4}, soon_too{CUBBY_DEMAND, 10, 3};
  path.push(write_back, 1);
  path.push(late, 2);
  path.push(soon, 3);
  path.push(soon_too, 4);
  std::vector<uint32_t> order;
  while (const auto *top = path.top()) {
    order.push_back(top->job);
    path.remove(order.back());
  }
  CHECK(order == std::vector<uint32_t>{4, 3, 2, 1});
}

TEST_CASE("prefetches leave room for demand, and a full queue gives nothing") {
  cubby_test::fake_world world;
  world.queue_depth = 3;
  const auto backend = cubby_test::open_fake(world);
  channel path(*backend, {.demand_bytes = 4 << 20, .other_bytes = 1 << 20});
  path.start(io_of(1 << 20, CUBBY_FORECAST), 0);
  path.push({CUBBY_FORECAST, 1, 1}, 1);
  CHECK_FALSE(path.top());  // as much as prefetches may have is in flight
  path.push({CUBBY_DEMAND, 9, 2}, 2);
  REQUIRE(path.top());
  CHECK(path.top()->job == 2);
  path.start(io_of(4096, CUBBY_DEMAND), 0);
  path.start(io_of(4096, CUBBY_DEMAND), 0);
  CHECK_FALSE(path.top());  // as deep as the backend's queue
}

TEST_CASE("what the backend did not accept is offered again; what it overstates is counted") {
  cubby_test::fake_world world;
  world.accepts_max = 1;
  const auto backend = cubby_test::open_fake(world);
  channel path(*backend);
  for (uint64_t cookie = 1; cookie <= 3; ++cookie) {
    cubby_backend_io io = io_of(4096, CUBBY_DEMAND);
    io.cookie = cookie;
    path.start(io, 0);
  }
  CHECK_FALSE(path.flush(1));
  CHECK_FALSE(path.flush(1));
  CHECK(path.flush(1));
  REQUIRE(world.started.size() == 3);
  for (uint64_t i = 0; i < 3; ++i) CHECK(world.started[i].cookie == i + 1);
  CHECK(path.overstated_count() == 0);
  world.submit_boast = 5;
  path.start(io_of(4096, CUBBY_DEMAND), 0);
  CHECK(path.flush(1));
  CHECK(path.overstated_count() == 1);
}

TEST_CASE("an estimate follows what was measured") {
  cubby_test::fake_world world;
  const auto backend = cubby_test::open_fake(world);
  channel path(*backend);
  CHECK(path.estimate_ns(4096) == base::never_ns);
  path.start(io_of(1000, CUBBY_DEMAND), 0);
  path.flush(0);
  path.finished(1000, CUBBY_DEMAND, 2000);  // half a byte a nanosecond
  CHECK(path.estimate_ns(1000) == 2000);
}

}  // namespace channel_test
