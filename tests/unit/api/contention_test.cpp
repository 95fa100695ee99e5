// Requests from several threads at once: none is refused, lost or asserted upon for what another
// thread does just now.
#include <atomic>
#include <thread>

#include "runtime_fixture.hpp"

namespace contention_test {

using namespace api_test;

namespace {

struct outcome {
  std::atomic<uint32_t> accepted{0}, refused{0}, failed{0};
};

/// Each thread has one request alive at a time.
void ask_and_wait(runtime_fixture &h, cubby_tier tier, uint32_t rounds, uint32_t thread,
                  outcome &seen) {
  for (uint32_t i = 0; i < rounds; ++i) {
    cubby_item item{};
    item.id = CUBBY_ID(h.bank, (i * 7 + thread) % (weights::rows * weights::columns));
    cubby_ticket ticket = 0;
    const cubby_status asked = cubby_prefetch(h.rt, &item, 1, tier, nullptr, &ticket);
    if (asked != CUBBY_PENDING) {
      ++seen.refused;
      continue;
    }
    ++seen.accepted;
    if (cubby_wait(h.rt, ticket, -1) != CUBBY_OK) ++seen.failed;
  }
}

}  // namespace

TEST_CASE("as many threads as there are tickets are never refused one") {
  constexpr uint32_t threads_count = 2, rounds = 60'000;
  const uint32_t pump = GENERATE(uint32_t{CUBBY_PUMP_CALLER}, uint32_t{CUBBY_PUMP_THREAD});
  const uint32_t tickets = GENERATE(2u, 4096u);
  CAPTURE(pump, tickets);
  weights w;
  runtime_fixture h(pump, tickets);
  const cubby_tier tier = h.tier("host:0", 0, uint64_t{16} << 20);
  h.map(w);
  outcome seen;
  std::vector<std::thread> threads;
  const uint32_t each = pump == CUBBY_PUMP_CALLER ? rounds : rounds / 10;
  for (uint32_t t = 0; t < threads_count; ++t) {
    threads.emplace_back([&, t] { ask_and_wait(h, tier, each, t, seen); });
  }
  for (std::thread &thread : threads) thread.join();
  CHECK(seen.refused == 0);
  CHECK(seen.failed == 0);
  CHECK(seen.accepted == threads_count * each);
}

}  // namespace contention_test
