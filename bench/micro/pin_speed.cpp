// Nanoseconds of a pin and unpin of eight resident lockers, beside what others would use: a map
// under a mutex, TBB's concurrent map, and the bare pair of atomic steps.
#include <benchmark/benchmark.h>
#include <tbb/concurrent_hash_map.h>

#include <array>
#include <atomic>
#include <mutex>
#include <unordered_map>

#include "../resident.hpp"

namespace {

constexpr uint32_t set_size = 8;

uint32_t first_of(const benchmark::State &state) {
  return static_cast<uint32_t>(state.thread_index()) * set_size;  // neighbours of the other thread
}

struct entry {
  const void *address = nullptr;
  uint32_t pins = 0;
};

void cubby_sets(benchmark::State &state) {
  static const resident runtime;
  for (auto _ : state) runtime.pin_and_unpin(first_of(state), set_size);
  state.SetItemsProcessed(state.iterations() * set_size);
}

void map_and_mutex(benchmark::State &state) {
  static std::mutex mutex;
  static std::unordered_map<uint64_t, entry> map = [] {
    std::unordered_map<uint64_t, entry> made;
    for (uint64_t i = 0; i < resident::count; i++) made[i] = {&made, 0};
    return made;
  }();
  const uint32_t first = first_of(state);
  for (auto _ : state) {
    for (const bool pin : {true, false}) {
      for (uint32_t i = 0; i < set_size; i++) {
        const std::lock_guard lock(mutex);
        entry &found = map.at(first + i);
        found.pins += pin ? 1u : ~0u;
        benchmark::DoNotOptimize(found.address);
      }
    }
  }
  state.SetItemsProcessed(state.iterations() * set_size);
}

void tbb_map(benchmark::State &state) {
  using map_type = tbb::concurrent_hash_map<uint64_t, entry>;
  static map_type map;
  static std::once_flag once;
  std::call_once(once, [] {
    for (uint64_t i = 0; i < resident::count; i++) map.insert({i, {&map, 0}});
  });
  const uint32_t first = first_of(state);
  for (auto _ : state) {
    for (const bool pin : {true, false}) {
      for (uint32_t i = 0; i < set_size; i++) {
        map_type::accessor found;
        map.find(found, first + i);
        found->second.pins += pin ? 1u : ~0u;
        benchmark::DoNotOptimize(found->second.address);
      }
    }
  }
  state.SetItemsProcessed(state.iterations() * set_size);
}

struct alignas(64) lone_count {
  std::atomic<uint64_t> pins{0};
};

void bare_fetch_add(benchmark::State &state) {
  static std::array<lone_count, resident::count> counts;
  const uint32_t first = first_of(state);
  for (auto _ : state) {
    for (uint32_t i = 0; i < set_size; i++) counts[first + i].pins.fetch_add(1);
    for (uint32_t i = 0; i < set_size; i++) counts[first + i].pins.fetch_sub(1);
  }
  state.SetItemsProcessed(state.iterations() * set_size);
}

}  // namespace

BENCHMARK(cubby_sets)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(map_and_mutex)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(tbb_map)->Threads(1)->Threads(2)->UseRealTime();
BENCHMARK(bare_fetch_add)->Threads(1)->Threads(2)->UseRealTime();

BENCHMARK_MAIN();
