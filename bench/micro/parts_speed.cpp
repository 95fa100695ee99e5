// Nanoseconds of the parts that a miss is made of.
#include <benchmark/benchmark.h>

#include <vector>

#include "base/bounded_queue.hpp"
#include "base/digest.hpp"
#include "platform/parallel.hpp"
#include "tier/extent_allocator.hpp"
#include "transfer/work_queue.hpp"

using namespace cubby;

namespace {

/// Digest of a chunk of so many bytes that is in the caches, or (large ones) is not.
void digest(benchmark::State &state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  const std::vector<std::byte> data(bytes, std::byte{7});
  for (auto _ : state)
    benchmark::DoNotOptimize(base::chunk_digest(data.data(), bytes, {1, 1, 0, 0}));
  state.SetBytesProcessed(state.iterations() * state.range(0));
}

/// A frame is given and one of the same size taken, as when one locker takes the place of another.
void frames_of_one_size(benchmark::State &state) {
  tier::extent_allocator frames;
  frames.add_block(0, 1 << 20);
  std::vector<uint64_t> taken;
  for (int i = 0; i < 4096; ++i) taken.push_back(*frames.take(17));
  size_t next = 0;
  for (auto _ : state) {
    frames.give(taken[next], 17);
    taken[next] = *frames.take(17);
    next = (next + 997) % taken.size();
  }
}

/// The same where sizes take turns, so that runs join and are cut again.
void frames_of_two_sizes(benchmark::State &state) {
  tier::extent_allocator frames;
  frames.add_block(0, 1 << 20);
  struct run {
    uint64_t first, count;
  };
  std::vector<run> taken;
  for (int i = 0; i < 4096; ++i) {
    const uint64_t count = i % 2 == 0 ? 17 : 23;
    taken.push_back({*frames.take(count), count});
  }
  size_t next = 0;
  for (auto _ : state) {
    run &one = taken[next];
    frames.give(one.first, one.count);
    one.count = 40 - one.count;
    one.first = *frames.take(one.count);
    next = (next + 997) % taken.size();
  }
}

void queue_push_and_pop(benchmark::State &state) {
  static base::bounded_queue<uint64_t> queue(1024);
  for (auto _ : state) {
    uint64_t value = 1;
    benchmark::DoNotOptimize(queue.push(value));
    benchmark::DoNotOptimize(queue.pop(value));
  }
}

struct counting_owner final : transfer::job_owner {
  uint64_t ended = 0;
  void job_done(uint32_t) override { ++ended; }
};

/// Sixteen pieces of so many bytes, digested by the pump alone (0 workers) or with others.
void verify_sixteen_pieces(benchmark::State &state) {
  const auto bytes = static_cast<size_t>(state.range(0));
  const std::vector<std::byte> data(bytes, std::byte{7});
  std::vector<uint64_t> digests(16);
  counting_owner owner;
  transfer::work_queue all;
  if (state.range(1) != 0)
    all.use(std::make_unique<platform::thread_pool>(static_cast<uint32_t>(state.range(1))),
            {[](void *) {}, [](void *) {}, nullptr});
  for (auto _ : state) {
    const uint64_t wanted = owner.ended + 16;
    for (uint32_t i = 0; i < 16; ++i) {
      const transfer::digest_job job = {data.data(), bytes, bytes,  bytes, {1, 1, 0, i},
                                        &digests[i], {},    &owner, i};
      if (all.submit(job)) continue;
      transfer::make_digests(job);
      ++owner.ended;
    }
    while (owner.ended != wanted) all.step();
  }
  state.SetBytesProcessed(state.iterations() * 16 * state.range(0));
}

}  // namespace

BENCHMARK(digest)->Arg(4096)->Arg(64 << 10)->Arg(256 << 10)->Arg(64 << 20);
BENCHMARK(frames_of_one_size);
BENCHMARK(frames_of_two_sizes);
BENCHMARK(queue_push_and_pop)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(verify_sixteen_pieces)
    ->ArgsProduct({{64 << 10, 256 << 10, 1 << 20}, {0, 1}})
    ->UseRealTime();

BENCHMARK_MAIN();
