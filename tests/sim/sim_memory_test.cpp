// Each fault of the simulated memory, made to happen and looked at.
#include <cstring>

#include "sim/fixture.hpp"

namespace {
using namespace sim_test;

struct memory_bench : bench {
  cubby_backend_memory frames{};
  std::vector<unsigned char> sent = std::vector<unsigned char>(8192);

  explicit memory_bench(world &in, uint32_t latency_ns = 0)
      : bench(cubby_sim_memory_backend(), in, 0, latency_ns) {
    frames.struct_size = sizeof frames;
    REQUIRE(ops.memory_reserve(self, 65536, &frames) == 0);
    for (size_t i = 0; i < sent.size(); ++i) sent[i] = static_cast<unsigned char>(i * 13 + i / 256);
  }
  ~memory_bench() { ops.memory_release(self, &frames); }

  unsigned char *frame() { return static_cast<unsigned char *>(frames.base); }
  cubby_backend_io copy(uint32_t op, void *to, const void *from, uint64_t bytes) {
    cubby_backend_io io{};
    io.cookie = 9;
    io.op = op;
    io.memory = to;
    io.source = from;
    io.bytes = bytes;
    return io;
  }
  cubby_backend_done copy_in() {
    return run_one(copy(CUBBY_BACKEND_COPY_IN, frame(), sent.data(), sent.size()));
  }
  uint64_t wrong_bits(const unsigned char *seen) {
    uint64_t wrong = 0;
    for (size_t i = 0; i < sent.size(); ++i) {
      wrong += static_cast<uint64_t>(__builtin_popcount(static_cast<unsigned>(seen[i] ^ sent[i])));
    }
    return wrong;
  }
};

TEST_CASE("an emulated device is not host-addressable, host memory is") {
  world sim(world_options{});
  cubby_backend_info info{};
  info.struct_size = sizeof info;
  memory_bench host(sim);
  REQUIRE(host.ops.describe(host.self, &info) == 0);
  CHECK((info.capabilities & CUBBY_CAP_HOST_ADDRESSABLE) != 0);
  CHECK((info.capabilities & CUBBY_CAP_VIRTUAL_CLOCK) != 0);
  CHECK(info.emulated == 0);
  memory_bench device(sim, 1000);
  REQUIRE(device.ops.describe(device.self, &info) == 0);
  CHECK((info.capabilities & CUBBY_CAP_HOST_ADDRESSABLE) == 0);
  CHECK(info.emulated == 1);
}

TEST_CASE("a copy brings the bytes its source has at completion, and not before") {
  world sim(world_options{});
  memory_bench bench(sim);
  REQUIRE(bench.submit(
              {bench.copy(CUBBY_BACKEND_COPY_IN, bench.frame(), bench.sent.data(), 8192)}) == 1);
  CHECK(bench.wrong_bits(bench.frame()) > 1000);
  bench.sent[5] ^= 0xff;  // what the runtime must not do to a source in flight
  REQUIRE(bench.reap_all().size() == 1);
  CHECK(bench.wrong_bits(bench.frame()) == 0);
}

TEST_CASE("reserve fails when forced and when the world is full; what is released holds noise") {
  world_options options;
  options.arena_bytes = 4u << 20;
  world sim(options);
  memory_bench bench(sim);
  cubby_backend_memory more{};
  more.struct_size = sizeof more;
  sim.force(fault::reserve_failure);
  CHECK(bench.ops.memory_reserve(bench.self, 4096, &more) == -ENOMEM);
  CHECK(sim.count(fault::reserve_failure) == 1);
  CHECK(bench.ops.memory_reserve(bench.self, 5u << 20, &more) == -ENOMEM);
  REQUIRE(bench.ops.memory_reserve(bench.self, 2u << 20, &more) == 0);
  CHECK(reinterpret_cast<uintptr_t>(more.base) % (2u << 20) == 0);
  auto bytes = static_cast<unsigned char *>(more.base);
  CHECK(bytes[0] == 0);
  const uint64_t taken = sim.memory().taken_bytes();
  bench.ops.memory_release(bench.self, &more);
  CHECK(bytes[0] != 0);
  CHECK(sim.memory().taken_bytes() == taken - (2u << 20));
}

TEST_CASE("a failed copy says EIO and leaves no whole copy behind") {
  world sim(world_options{});
  memory_bench bench(sim);
  sim.force(fault::copy_failure);
  const auto done = bench.copy_in();
  CHECK(done.error == EIO);
  CHECK(bench.wrong_bits(bench.frame()) > 0);
  CHECK(bench.copy_in().error == 0);
  CHECK(bench.wrong_bits(bench.frame()) == 0);
}

TEST_CASE("a copy flips a bit once; a frame's flip stays") {
  world sim(world_options{});
  memory_bench bench(sim);
  sim.force(fault::copy_flip);
  CHECK(bench.copy_in().error == 0);
  CHECK(bench.wrong_bits(bench.frame()) == 1);
  CHECK(bench.copy_in().error == 0);
  CHECK(bench.wrong_bits(bench.frame()) == 0);
  std::vector<unsigned char> got(8192);
  sim.force(fault::frame_flip);
  for (int i = 0; i < 2; ++i) {
    bench.run_one(bench.copy(CUBBY_BACKEND_COPY_OUT, got.data(), bench.frame(), 8192));
    CHECK(bench.wrong_bits(got.data()) == 1);
  }
  CHECK(sim.count(fault::frame_flip) == 1);
  bench.copy_in();
  sim.flip_memory(bench.frame() + 77, 0x10);
  CHECK(bench.wrong_bits(bench.frame()) == 1);
  CHECK(sim.count(fault::frame_flip) == 2);
}

TEST_CASE("a frame that a file was read into can rot") {
  world sim(world_options{});
  memory_bench bench(sim);
  CHECK_FALSE(sim.flip_resting_frame());
  bench.copy_in();
  sim.note_landed(bench.frame(), 8192);
  REQUIRE(sim.flip_resting_frame());
  CHECK(bench.wrong_bits(bench.frame()) == 1);
  CHECK(sim.count(fault::frame_flip) == 1);
}

TEST_CASE("a copy may be stuck until heal, and late") {
  world sim(world_options{});
  memory_bench bench(sim);
  sim.force(fault::stuck);
  REQUIRE(bench.submit(
              {bench.copy(CUBBY_BACKEND_COPY_IN, bench.frame(), bench.sent.data(), 8192)}) == 1);
  CHECK(bench.reap_all().empty());
  sim.heal();
  CHECK(bench.reap_all().size() == 1);
  sim.force(fault::late);
  const uint64_t start_ns = bench.now_ns;
  bench.copy_in();
  CHECK(bench.now_ns - start_ns >= sim.options().late_ns);
}

}  // namespace
