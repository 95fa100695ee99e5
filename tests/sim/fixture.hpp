// One instance of a simulated backend in a world of the test's own, with time in the test's hands.
#pragma once
#include <map>
#include <string>
#include <vector>

#include "sim/sim.hpp"
#include "support/catch.hpp"
#include "support/services.hpp"

namespace sim_test {

using cubby_sim::fault;
using cubby_sim::world;
using cubby_sim::world_options;

struct bench {
  const cubby_backend_ops &ops;
  world &sim;
  cubby_test::test_services host;
  cubby_backend_services services = host.services();
  cubby_backend *self = nullptr;
  uint64_t now_ns = 1'000'000;

  bench(const cubby_backend_ops *table, world &in, uint32_t depth = 0, uint32_t latency_ns = 0)
      : ops(*table), sim(in) {
    cubby_backend_config config{};
    config.struct_size = sizeof config;
    config.device = -1;
    config.name = "test:0";
    config.queue_depth = depth;
    config.emulated_latency_ns = latency_ns;
    config.user = &sim;
    REQUIRE(ops.open(&services, &config, &self) == 0);
  }
  bench(const bench &) = delete;
  bench &operator=(const bench &) = delete;
  ~bench() { ops.close(self); }

  uint32_t submit(const std::vector<cubby_backend_io> &ios) {
    return ops.submit(self, now_ns, ios.data(), static_cast<uint32_t>(ios.size()));
  }
  /// Time goes from completion to completion until nothing is due any more.
  std::vector<cubby_backend_done> reap_all() {
    std::vector<cubby_backend_done> all;
    for (;;) {
      cubby_backend_done done[4];
      uint64_t next_ns = 0;
      const uint32_t count = ops.reap(self, now_ns, done, 4, &next_ns);
      all.insert(all.end(), done, done + count);
      if (count != 0) continue;
      if (next_ns == ~uint64_t{0}) return all;
      REQUIRE(next_ns > now_ns);
      now_ns = next_ns;
    }
  }
  cubby_backend_done run_one(const cubby_backend_io &io) {
    REQUIRE(submit({io}) == 1);
    const auto done = reap_all();
    REQUIRE(done.size() == 1);
    REQUIRE(done[0].cookie == io.cookie);
    return done[0];
  }
};

struct alignas(4096) page {
  unsigned char bytes[4096] = {};
};

}  // namespace sim_test
