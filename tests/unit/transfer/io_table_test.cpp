// Whose a completion is: each owner hears once of each of its I/Os, and of no other.
#include "transfer/io_table.hpp"

#include <set>

#include "support/fake_backend.hpp"

namespace io_table_test {

using namespace cubby;
using transfer::channel;
using transfer::io_owner;
using transfer::io_table;

namespace {

struct recording_owner final : io_owner {
  std::vector<uint32_t> tags;
  void io_done(uint32_t tag, const cubby_backend_done &) override { tags.push_back(tag); }
};

cubby_backend_io read_of(uint64_t bytes) {
  cubby_backend_io io{};
  io.op = CUBBY_BACKEND_READ;
  io.bytes = bytes;
  io.io_class = CUBBY_DEMAND;
  return io;
}

}  // namespace

TEST_CASE("completions in any order reach the owner that started the I/O") {
  cubby_test::fake_world world;
  const auto backend = cubby_test::open_fake(world);
  channel path(*backend);
  io_table table;
  recording_owner first, second;
  cubby_backend_io read = read_of(4096);
  for (uint32_t i = 0; i < 4; ++i) table.start(path, read, i % 2 ? second : first, i, 1);
  path.flush(1);
  REQUIRE(world.started.size() == 4);
  CHECK(path.in_flight_count() == 4);
  for (const size_t at : {3u, 0u, 2u, 1u}) world.end(at);
  cubby_backend_done done[8];
  uint64_t next = 0;
  const uint32_t count = path.reap(2, done, 8, &next);
  REQUIRE(count == 4);
  for (uint32_t i = 0; i < count; ++i) {
    const auto end = table.finish(path, done[i].cookie, 2);
    REQUIRE(end);
    end->owner->io_done(end->tag, done[i]);
  }
  CHECK(first.tags == std::vector<uint32_t>{0, 2});
  CHECK(second.tags == std::vector<uint32_t>{3, 1});
  CHECK(path.in_flight_count() == 0);
}

TEST_CASE("what is reported twice, never asked for, or by another channel is nobody's") {
  cubby_test::fake_world world, other_world;
  const auto backend = cubby_test::open_fake(world),
             other_backend = cubby_test::open_fake(other_world);
  channel path(*backend), other(*other_backend);
  io_table table;
  recording_owner owner;
  cubby_backend_io read = read_of(4096);
  table.start(path, read, owner, 7, 1);
  path.flush(1);
  const uint64_t cookie = world.started[0].cookie;
  CHECK_FALSE(table.finish(other, cookie, 2));
  CHECK_FALSE(table.finish(path, cookie + 1, 2));
  CHECK_FALSE(table.finish(path, 0, 2));
  CHECK_FALSE(table.finish(path, ~uint64_t{0}, 2));
  REQUIRE(table.finish(path, cookie, 2));
  CHECK_FALSE(table.finish(path, cookie, 3));
  // The place is used again, under another cookie.
  table.start(path, read, owner, 8, 3);
  path.flush(3);
  CHECK(world.started[1].cookie != cookie);
  CHECK_FALSE(table.finish(path, cookie, 4));
  CHECK(table.finish(path, world.started[1].cookie, 4)->tag == 8);
}

}  // namespace io_table_test
