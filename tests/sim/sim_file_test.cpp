// Each fault of the simulated disk, made to happen and looked at.
#include <cstring>

#include "sim/fixture.hpp"

namespace {
using namespace sim_test;

constexpr uint64_t file_bytes = 256 * 4096;

struct disk_bench : bench {
  std::vector<page> memory = std::vector<page>(16);
  uint32_t file = 0;

  explicit disk_bench(world &in, uint32_t depth = 0) : bench(cubby_sim_file_backend(), in, depth) {
    if (in.find("a") == nullptr) in.add_file("a", file_bytes);
    cubby_backend_file out{};
    out.struct_size = sizeof out;
    const uint32_t flags = CUBBY_BACKEND_FILE_READ | CUBBY_BACKEND_FILE_WRITE;
    REQUIRE(ops.file_open(self, "a", flags, &out) == 0);
    file = out.file;
  }
  ~disk_bench() { ops.file_close(self, file); }

  cubby_backend_io io(uint32_t op, uint64_t offset, uint64_t pages, size_t at = 0) {
    cubby_backend_io out{};
    out.cookie = 100 + offset / 4096;
    out.op = op;
    out.file = file;
    out.offset_bytes = offset;
    out.memory = &memory[at];
    out.bytes = pages * 4096;
    return out;
  }
  cubby_backend_done read(uint64_t offset, uint64_t pages) {
    return run_one(io(CUBBY_BACKEND_READ, offset, pages));
  }
  std::vector<unsigned char> truth(uint64_t offset, uint64_t bytes) {
    std::vector<unsigned char> right(bytes);
    REQUIRE(sim.find("a")->read(offset, right.data(), bytes) == bytes);
    return right;
  }
  /// Bits in which memory differs from the file.
  uint64_t wrong_bits(uint64_t offset, uint64_t bytes) {
    const auto right = truth(offset, bytes);
    uint64_t wrong = 0;
    for (uint64_t i = 0; i < bytes; ++i) {
      const int differs = memory[i / 4096].bytes[i % 4096] ^ right[i];
      wrong += static_cast<uint64_t>(__builtin_popcount(static_cast<unsigned>(differs)));
    }
    return wrong;
  }
};

TEST_CASE("content follows from seed, path and offset alone") {
  world_options options;
  world one(options), same(options);
  options.seed = 2;
  world other(options);
  for (world *w : {&one, &same, &other}) w->add_file("a", 8192);
  one.add_file("b", 8192);
  unsigned char first[5000], second[5000], third[5000], fourth[5000];
  REQUIRE(one.find("a")->read(1001, first, 5000) == 5000);
  REQUIRE(same.find("a")->read(1001, second, 5000) == 5000);
  REQUIRE(other.find("a")->read(1001, third, 5000) == 5000);
  REQUIRE(one.find("b")->read(1001, fourth, 5000) == 5000);
  CHECK(std::memcmp(first, second, 5000) == 0);
  CHECK(std::memcmp(first, third, 5000) != 0);
  CHECK(std::memcmp(first, fourth, 5000) != 0);
  // A part read alone is the part of the whole.
  REQUIRE(one.find("a")->read(4097, second, 10) == 10);
  CHECK(std::memcmp(first + 4097 - 1001, second, 10) == 0);
  CHECK(one.find("a")->read(8000, first, 5000) == 192);
}

TEST_CASE("a read without faults brings the bytes, and not before it completes") {
  world sim(world_options{});
  disk_bench bench(sim);
  REQUIRE(bench.submit({bench.io(CUBBY_BACKEND_READ, 8192, 4)}) == 1);
  CHECK(bench.wrong_bits(8192, 4 * 4096) > 1000);
  uint64_t next_ns = 0;
  cubby_backend_done done{};
  CHECK(bench.ops.reap(bench.self, bench.now_ns, &done, 1, &next_ns) == 0);
  CHECK(next_ns > bench.now_ns);
  REQUIRE(bench.ops.reap(bench.self, next_ns, &done, 1, &next_ns) == 1);
  CHECK(done.bytes == 4 * 4096);
  CHECK(bench.wrong_bits(8192, 4 * 4096) == 0);
}

TEST_CASE("completions come out of order, the same order for the same seed") {
  auto order_of = [](uint64_t seed) {
    world_options options;
    options.seed = seed;
    world sim(options);
    disk_bench bench(sim);
    std::vector<cubby_backend_io> ios;
    for (uint64_t i = 0; i < 16; ++i) ios.push_back(bench.io(CUBBY_BACKEND_READ, i * 4096, 1, i));
    REQUIRE(bench.submit(ios) == 16);
    std::vector<uint64_t> order;
    for (const auto &done : bench.reap_all()) order.push_back(done.cookie);
    CHECK(order.size() == 16);
    CHECK(bench.wrong_bits(0, 16 * 4096) == 0);
    return order;
  };
  const auto first = order_of(5);
  CHECK_FALSE(std::is_sorted(first.begin(), first.end()));
  CHECK(first == order_of(5));
  CHECK(first != order_of(6));
}

TEST_CASE("writes are read back, the older version stays known") {
  world sim(world_options{});
  disk_bench bench(sim);
  const auto before = bench.truth(4096, 4096);
  std::memset(bench.memory[0].bytes, 0x11, 4096);
  CHECK(bench.run_one(bench.io(CUBBY_BACKEND_WRITE, 4096, 1)).bytes == 4096);
  CHECK(bench.truth(4096, 4096) == std::vector<unsigned char>(4096, 0x11));
  unsigned char older[4096];
  sim.find("a")->read_older(1, older);
  CHECK(std::memcmp(older, before.data(), 4096) == 0);
}

TEST_CASE("EIO: once, or for a range until heal") {
  world sim(world_options{});
  disk_bench bench(sim);
  sim.force(fault::eio_transient, "a", 0, 4096);
  CHECK(bench.read(8192, 1).error == 0);
  CHECK(bench.read(0, 1).error == EIO);
  CHECK(bench.read(0, 1).error == 0);
  CHECK(sim.count(fault::eio_transient) == 1);
  sim.force(fault::eio_sticky, "a", 0, 4096);
  for (int i = 0; i < 3; ++i) CHECK(bench.read(0, 2).error == EIO);
  CHECK(bench.read(4096, 1).error == EIO);  // the whole range that failed is bad
  CHECK(bench.read(8192, 1).error == 0);
  CHECK(bench.run_one(bench.io(CUBBY_BACKEND_WRITE, 0, 1)).error == EIO);
  CHECK(sim.count(fault::eio_sticky) == 5);
  sim.heal();
  CHECK(bench.read(0, 2).error == 0);
  CHECK(bench.wrong_bits(0, 8192) == 0);
}

TEST_CASE("a short read says fewer bytes and no error, away from the end") {
  world sim(world_options{});
  disk_bench bench(sim);
  sim.force(fault::short_read, "a", 0, file_bytes, 8);
  for (int i = 0; i < 8; ++i) {
    const auto done = bench.read(16384, 4);
    CHECK(done.error == 0);
    CHECK(done.bytes < 4 * 4096);
    CHECK(bench.wrong_bits(16384, done.bytes) == 0);
    CHECK(bench.wrong_bits(16384, 4 * 4096) > 0);
  }
  CHECK(bench.read(16384, 4).bytes == 4 * 4096);
}

TEST_CASE("a flip in transit happens once, a flip at rest stays until heal") {
  world sim(world_options{});
  disk_bench bench(sim);
  sim.force(fault::flip_transit, "a");
  CHECK(bench.read(0, 4).bytes == 4 * 4096);
  CHECK(bench.wrong_bits(0, 4 * 4096) == 1);
  bench.read(0, 4);
  CHECK(bench.wrong_bits(0, 4 * 4096) == 0);
  sim.force(fault::flip_rest, "a");
  for (int i = 0; i < 3; ++i) {
    bench.read(0, 4);
    CHECK(bench.wrong_bits(0, 4 * 4096) == 1);
  }
  CHECK(sim.count(fault::flip_rest) == 1);
  sim.heal();
  bench.read(0, 4);
  CHECK(bench.wrong_bits(0, 4 * 4096) == 0);
}

TEST_CASE("a misdirected read brings another place's bytes and says nothing") {
  world sim(world_options{});
  disk_bench bench(sim);
  sim.force(fault::misdirected, "a");
  const auto done = bench.read(0, 1);
  CHECK(done.error == 0);
  CHECK(done.bytes == 4096);
  CHECK(bench.wrong_bits(0, 4096) > 1000);
  bool found = false;
  for (uint64_t block = 1; block < file_bytes / 4096; ++block) {
    found = found || bench.wrong_bits(block * 4096, 4096) == 0;
  }
  CHECK(found);
}

TEST_CASE("a stale block is what was there before the last write") {
  world sim(world_options{});
  disk_bench bench(sim);
  const auto before = bench.truth(0, 4096);
  std::memset(bench.memory[0].bytes, 0x22, 4096);
  REQUIRE(bench.run_one(bench.io(CUBBY_BACKEND_WRITE, 0, 1)).error == 0);
  sim.force(fault::stale_block, "a");
  CHECK(bench.read(0, 1).error == 0);
  CHECK(std::memcmp(bench.memory[0].bytes, before.data(), 4096) == 0);
  sim.force(fault::stale_block, "a");  // never written over: an earlier life of the file
  CHECK(bench.read(4096, 1).error == 0);
  CHECK(bench.wrong_bits(4096, 4096) > 1000);
}

TEST_CASE("late I/Os come late, stuck ones at heal or when their time is over") {
  world_options options;
  options.stuck_ns = 9'000'000'000;
  const bool bounded = GENERATE(false, true);
  if (!bounded) options.stuck_ns = ~uint64_t{0};
  world sim(options);
  disk_bench bench(sim);
  sim.force(fault::late, "a");
  uint64_t start_ns = bench.now_ns;
  CHECK(bench.read(0, 1).error == 0);
  CHECK(bench.now_ns - start_ns >= options.late_ns);
  sim.force(fault::stuck, "a");
  start_ns = bench.now_ns;
  REQUIRE(bench.submit({bench.io(CUBBY_BACKEND_READ, 0, 1)}) == 1);
  if (bounded) {
    CHECK(bench.reap_all().size() == 1);
    CHECK(bench.now_ns - start_ns == options.stuck_ns);
  } else {
    CHECK(bench.reap_all().empty());
    sim.heal();
    CHECK(bench.reap_all().size() == 1);
  }
  CHECK(bench.wrong_bits(0, 4096) == 0);
}

TEST_CASE("no more I/Os are stuck at once than the world allows") {
  world_options options;
  options.stuck_max = 3;
  rate_of(options.rates, fault::stuck) = 1'000'000;
  world sim(options);
  disk_bench bench(sim);
  std::vector<cubby_backend_io> ios;
  for (uint64_t i = 0; i < 16; ++i) ios.push_back(bench.io(CUBBY_BACKEND_READ, i * 4096, 1, i));
  REQUIRE(bench.submit(ios) == 16);
  CHECK(bench.reap_all().size() == 13);
  sim.heal();
  CHECK(bench.reap_all().size() == 3);
  CHECK(sim.count(fault::stuck) == 3);
}

TEST_CASE("a file that cannot be opened, and one that is not there") {
  world sim(world_options{});
  disk_bench bench(sim);
  cubby_backend_file out{};
  out.struct_size = sizeof out;
  sim.force(fault::open_failure, "a");
  CHECK(bench.ops.file_open(bench.self, "a", CUBBY_BACKEND_FILE_READ, &out) == -EIO);
  CHECK(bench.ops.file_open(bench.self, "b", CUBBY_BACKEND_FILE_READ, &out) == -ENOENT);
  REQUIRE(bench.ops.file_open(bench.self, "a", CUBBY_BACKEND_FILE_READ, &out) == 0);
  cubby_backend_io io = bench.io(CUBBY_BACKEND_WRITE, 0, 1);
  io.file = out.file;
  CHECK(bench.run_one(io).error == EBADF);  // opened for reading only
  bench.ops.file_close(bench.self, out.file);
}

TEST_CASE("the world changes a file's identity, an open file shows it") {
  world sim(world_options{});
  disk_bench bench(sim);
  cubby_backend_file before{}, after{};
  before.struct_size = after.struct_size = sizeof before;
  REQUIRE(bench.ops.file_stat(bench.self, bench.file, &before) == 0);
  sim.touch("a", 5);
  REQUIRE(bench.ops.file_stat(bench.self, bench.file, &after) == 0);
  CHECK(after.mtime_ns > before.mtime_ns);
  sim.replace("a");
  REQUIRE(bench.ops.file_stat(bench.self, bench.file, &after) == 0);
  CHECK(after.inode != before.inode);
  sim.resize("a", 5000);
  REQUIRE(bench.ops.file_stat(bench.self, bench.file, &after) == 0);
  CHECK(after.bytes == 5000);
  CHECK(bench.read(4096, 1).bytes == 5000 - 4096);
}

TEST_CASE("silent faults by rate strike only where they are allowed") {
  world_options options;
  for (const fault silent :
       {fault::flip_transit, fault::flip_rest, fault::misdirected, fault::stale_block}) {
    rate_of(options.rates, silent) = 300'000;
  }
  world sim(options);
  disk_bench bench(sim);
  for (uint64_t i = 0; i < 50; ++i) {
    bench.read(i * 4096, 1);
    CHECK(bench.wrong_bits(i * 4096, 4096) == 0);
  }
  sim.silent_allowed = [](const std::string &path, uint64_t offset, uint64_t) {
    return path == "a" && offset < 50 * 4096;
  };
  uint64_t lies = 0;
  for (uint64_t i = 0; i < 100; ++i) {
    bench.read(i * 4096, 1);
    const bool lied = bench.wrong_bits(i * 4096, 4096) != 0;
    CHECK_FALSE((lied && i >= 50));
    lies += lied ? 1 : 0;
  }
  CHECK(lies > 10);
}

TEST_CASE("every fault of the disk happens by rate and is counted under its name") {
  world_options options;
  options.rates = cubby_sim::lively_rates();
  world sim(options);
  sim.silent_allowed = [](const std::string &, uint64_t, uint64_t) { return true; };
  disk_bench bench(sim);
  for (uint64_t i = 0; i < 4000; ++i) {
    bench.submit({bench.io(CUBBY_BACKEND_READ, i % 256 * 4096, 1)});
    bench.reap_all();
    if (i % 100 == 99) {
      sim.heal();
      sim.set_rates(options.rates);
      bench.reap_all();
    }
  }
  for (const fault which :
       {fault::eio_transient, fault::eio_sticky, fault::short_read, fault::flip_transit,
        fault::flip_rest, fault::misdirected, fault::stale_block, fault::late, fault::stuck}) {
    INFO(cubby_sim::fault_name(which));
    CHECK(sim.count(which) > 0);
  }
}

}  // namespace
