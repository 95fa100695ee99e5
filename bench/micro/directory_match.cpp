// Nanoseconds a key of a prefix match over 1,000 chained keys of 32 bytes, by how many keys are
// present: alone, by two readers, and beside a writer that never rests. Beside it the same keys in
// TBB's concurrent map, and in a std::unordered_map that only one thread may use.
#include "directory/key_directory.hpp"

#include <benchmark/benchmark.h>
#include <tbb/concurrent_hash_map.h>

#include <array>
#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <vector>

#include "base/digest.hpp"
#include "base/prng.hpp"

namespace {

using namespace cubby;

constexpr uint32_t chain_keys = 1000;
using name = std::array<uint64_t, 4>;

void demand(bool holds) {
  if (!holds) std::abort();
}

/// The names of `count` keys in chains of 1,000.
struct names {
  std::vector<name> all;
  std::vector<cubby_key> keys;

  explicit names(uint32_t count) {
    base::prng prng(count);
    for (uint32_t i = 0; i < count; ++i) all.push_back({prng.next(), prng.next(), i, 0});
    for (const name &one : all) keys.push_back({one.data(), sizeof one});
  }
  [[nodiscard]] uint32_t chains() const { return static_cast<uint32_t>(all.size()) / chain_keys; }
  [[nodiscard]] static bool is_root(uint32_t i) { return i % chain_keys == 0; }
};

class in_directory {
 public:
  explicit in_directory(const names &of) : of_(of), keys_(config_for(of)) {
    space_ = *keys_.add_space({}, {});
    for (uint32_t i = 0; i < of.all.size(); ++i) put(i);
  }
  uint32_t match(uint32_t chain) const {
    directory::match_query query;
    query.space = space_;
    query.keys = &of_.keys[chain * chain_keys];
    query.count = chain_keys;
    return *keys_.match(query);
  }
  void replace(uint32_t i) {
    demand(keys_.erase(keys_.at_locker(i), directory::erase_rule::any).ok());
    put(i);
  }
  [[nodiscard]] double bytes_a_key() const {
    return static_cast<double>(keys_.bytes()) / static_cast<double>(of_.all.size());
  }

 private:
  static directory::directory_config config_for(const names &of) {
    directory::directory_config config;
    config.locker_count = static_cast<uint32_t>(of.all.size());
    config.seed = 1;
    return config;
  }
  void put(uint32_t i) {
    directory::put_request request;
    request.space = space_;
    request.key = of_.keys[i];
    request.parent = names::is_root(i) ? nullptr : &of_.keys[i - 1];
    request.locker = i;
    const auto put = keys_.begin_put(request);
    demand(put.ok() && keys_.publish(put->entry, i, 1).ok());
  }

  const names &of_;
  directory::key_directory keys_;
  uint32_t space_ = 0;
};

struct block {
  uint32_t locker = 0;
  name parent{};
};

struct hash_of_name {
  static size_t hash(const name &of) { return base::digest64(of.data(), sizeof of, 1); }
  static bool equal(const name &a, const name &b) { return a == b; }
  size_t operator()(const name &of) const { return hash(of); }
};

block block_of(const names &of, uint32_t i) {
  return {i, names::is_root(i) ? name{} : of.all[i - 1]};
}

class in_tbb {
 public:
  explicit in_tbb(const names &of) : of_(of), map_(of.all.size()) {
    for (uint32_t i = 0; i < of.all.size(); ++i) map_.insert({of.all[i], block_of(of, i)});
  }
  uint32_t match(uint32_t chain) const {
    name before{};
    uint32_t hits = 0;
    for (; hits < chain_keys; ++hits) {
      const name &key = of_.all[chain * chain_keys + hits];
      map_type::const_accessor found;
      if (!map_.find(found, key) || found->second.parent != before) break;
      before = key;
    }
    return hits;
  }
  void replace(uint32_t i) {
    map_.erase(of_.all[i]);
    map_.insert({of_.all[i], block_of(of_, i)});
  }
  [[nodiscard]] double bytes_a_key() const { return 0; }

 private:
  using map_type = tbb::concurrent_hash_map<name, block, hash_of_name>;

  const names &of_;
  map_type map_;
};

class in_unordered_map {
 public:
  explicit in_unordered_map(const names &of) : of_(of) {
    for (uint32_t i = 0; i < of.all.size(); ++i) map_.emplace(of.all[i], block_of(of, i));
  }
  uint32_t match(uint32_t chain) const {
    name before{};
    uint32_t hits = 0;
    for (; hits < chain_keys; ++hits) {
      const name &key = of_.all[chain * chain_keys + hits];
      const auto found = map_.find(key);
      if (found == map_.end() || found->second.parent != before) break;
      before = key;
    }
    return hits;
  }
  [[nodiscard]] double bytes_a_key() const { return 0; }

 private:
  const names &of_;
  std::unordered_map<name, block, hash_of_name> map_;
};

/// Made once for each size, and used by every benchmark of it.
template <class Table>
Table &table_of(uint32_t count) {
  static std::mutex mutex;
  static std::map<uint32_t, std::pair<std::unique_ptr<names>, std::unique_ptr<Table>>> made;
  const std::lock_guard lock(mutex);
  auto &one = made[count];
  if (one.first == nullptr) {
    one.first = std::make_unique<names>(count);
    one.second = std::make_unique<Table>(*one.first);
  }
  return *one.second;
}

template <class Table>
void read(benchmark::State &state, const Table &table) {
  const auto chains = static_cast<uint32_t>(state.range(0)) / chain_keys;
  base::prng prng(static_cast<uint64_t>(state.thread_index()) + 1);
  uint64_t hits = 0;
  for (auto _ : state) {
    hits += table.match(static_cast<uint32_t>(prng.below(chains)));
  }
  benchmark::DoNotOptimize(hits);
  using counter = benchmark::Counter;
  const auto keys = static_cast<double>(state.iterations()) * chain_keys;
  state.counters["a_key"] =
      counter(keys, static_cast<counter::Flags>(counter::kAvgThreadsRate | counter::kInvert));
  state.counters["hit"] = counter(static_cast<double>(hits) / keys, counter::kAvgThreads);
  state.counters["bytes"] = counter(table.bytes_a_key(), counter::kAvgThreads);
}

template <class Table>
void match(benchmark::State &state) {
  read(state, table_of<Table>(static_cast<uint32_t>(state.range(0))));
}

template <class Table>
void match_beside_writer(benchmark::State &state) {
  const auto count = static_cast<uint32_t>(state.range(0));
  Table &table = table_of<Table>(count);
  std::atomic<bool> over{false};
  std::atomic<uint64_t> replaced{0};
  std::thread writer([&] {
    base::prng prng(7);
    // The last key of a chain, so that most of what is matched is there.
    for (; !over.load(std::memory_order_relaxed); ++replaced) {
      const auto chain = static_cast<uint32_t>(prng.below(count / chain_keys));
      table.replace(chain * chain_keys + chain_keys - 1);
    }
  });
  read(state, table);
  over = true;
  writer.join();
  state.counters["writes"] =
      benchmark::Counter(static_cast<double>(replaced.load()), benchmark::Counter::kIsRate);
}

constexpr int64_t few = 10'000, many = 1'000'000;

}  // namespace

#define CUBBY_SIZES RangeMultiplier(10)->Range(few, many)->UseRealTime()
BENCHMARK(match<in_directory>)->CUBBY_SIZES->Threads(1)->Threads(2);
BENCHMARK(match_beside_writer<in_directory>)->CUBBY_SIZES;
BENCHMARK(match<in_tbb>)->CUBBY_SIZES->Threads(1)->Threads(2);
BENCHMARK(match_beside_writer<in_tbb>)->CUBBY_SIZES;
BENCHMARK(match<in_unordered_map>)->CUBBY_SIZES->Threads(1);

BENCHMARK_MAIN();
