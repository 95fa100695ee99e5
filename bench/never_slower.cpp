// Is a prefix ever ready later with cubby_split() than without? Chains of KV blocks that are on
// disk alone are made ready by loading all, by computing all, and as cubby_split() says, in turn,
// with computing at several speeds, while the disk is idle and while it is busy; what was predicted
// is held against what it took. And are experts ever there later for a tier between the near one
// and the file? The same uses through a runtime with such a tier and one without, in turn. One line
// of JSON.
//   never_slower DIRECTORY [rounds]     (a store of 384 MiB is made there, and taken away again)
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "expert_tiers.hpp"
#include "kv_cache.hpp"

namespace {

constexpr uint64_t block_bytes = 256 << 10;
constexpr uint32_t chain_count = 12, chain_blocks = 64, written_blocks = 128;

uint64_t now_ns() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

/// An accelerator that computes: the processor is free meanwhile.
void compute(uint64_t ns) {
  if (ns == 0) return;
  const uint64_t until_ns = now_ns() + ns;
  const timespec until{static_cast<time_t>(until_ns / 1'000'000'000),
                       static_cast<long>(until_ns % 1'000'000'000)};
  while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr) != 0) {
  }
}

/// Keys of a chain, each block's parent the one before.
struct chain {
  std::vector<std::string> names;
  std::vector<cubby_key> keys;
  std::vector<cubby_span> spans;
  std::vector<cubby_item> items;

  chain(const std::string &name, cubby_space space, uint32_t count, char *memory)
      : names(count), keys(count), spans(count), items(count) {
    for (uint32_t i = 0; i < count; ++i) {
      names[i] = name + "/" + std::to_string(i);
      keys[i] = {names[i].data(), static_cast<uint32_t>(names[i].size())};
      spans[i] = {0, 0, reinterpret_cast<uintptr_t>(memory + i * block_bytes), block_bytes};
      items[i].space = space;
      items[i].span_count = 1;
      items[i].key = keys[i];
      items[i].parent = i == 0 ? nullptr : &keys[i - 1];
      items[i].spans = &spans[i];
    }
  }
  chain(const chain &) = delete;
  chain &operator=(const chain &) = delete;
};

class cache : public kv_cache {
 public:
  /// Memory for two chains and some: the third evicts the first.
  explicit cache(const std::string &directory)
      : kv_cache(block_bytes, 2 * chain_count * chain_blocks, uint64_t{40} << 20, "lru", directory,
                 uint64_t{384} << 20) {}

  void put(chain &all, uint32_t first, uint32_t count) {
    cubby_how how{};
    how.struct_size = sizeof how;
    how.keep = CUBBY_KEEP_RESTART;
    for (uint32_t i = first; i < first + count; i += 16) {
      const uint32_t some = std::min(16u, first + count - i);
      if (cubby_put(rt(), &all.items[i], some, &how, nullptr) != CUBBY_OK) fail("put");
    }
  }
  cubby_ticket begin_load(chain &of, uint32_t first, uint32_t count) {
    cubby_ticket ticket = 0;
    const cubby_status status = cubby_get(rt(), &of.items[first], count, nullptr, &ticket);
    if (status != CUBBY_OK && status != CUBBY_PENDING) fail("get");
    return ticket;
  }
  void end_load(cubby_ticket ticket) {
    if (ticket != 0 && cubby_wait(rt(), ticket, -1) != CUBBY_OK) fail("wait");
  }
  cubby_split_result split(const chain &of, const std::vector<uint64_t> &recompute_ns) {
    cubby_split_result made{};
    made.struct_size = sizeof made;
    if (cubby_split(rt(), space(), of.keys.data(), chain_blocks, recompute_ns.data(), host(),
                    &made) != CUBBY_OK) {
      fail("split");
    }
    return made;
  }
  void drop(chain &of) {
    if (cubby_drop(rt(), of.items.data(), static_cast<uint32_t>(of.items.size()), 0) < 0) {
      fail("drop");
    }
  }
};

/// Puts of others and, between them, their gets.
class other_load {
 public:
  other_load(cache &kv, char *memory)
      : kv_(kv), all_("other", kv.space(), written_blocks, memory), thread_([this] { run(); }) {}
  ~other_load() {
    stop_ = true;
    thread_.join();
  }
  other_load(const other_load &) = delete;
  other_load &operator=(const other_load &) = delete;

 private:
  void run() {
    while (!stop_) {
      kv_.put(all_, 0, written_blocks);
      kv_.end_load(kv_.begin_load(all_, 0, 32));
      kv_.drop(all_);
    }
  }
  cache &kv_;
  chain all_;
  std::atomic<bool> stop_{false};
  std::thread thread_;  // last: it uses the others
};

struct times {
  std::vector<double> load_ns, compute_ns, split_ns, ratio;
  std::vector<double> error, factor;  // of what was predicted
};

class trial {
 public:
  trial(cache &kv, std::vector<std::unique_ptr<chain>> &chains) : kv_(kv), chains_(chains) {}

  double load_all() {
    chain &of = next_chain();
    const uint64_t start_ns = now_ns();
    kv_.end_load(kv_.begin_load(of, 0, chain_blocks));
    const auto took_ns = static_cast<double>(now_ns() - start_ns);
    return took_ns;
  }
  static double compute_all(uint64_t each_ns) {
    const uint64_t start_ns = now_ns();
    compute(each_ns * chain_blocks);
    return static_cast<double>(now_ns() - start_ns);
  }
  double as_split_says(uint64_t each_ns, times &to) {
    chain &of = next_chain();
    const uint64_t start_ns = now_ns();
    const auto best = kv_.split(of, std::vector<uint64_t>(chain_blocks, each_ns));
    cubby_ticket ticket = 0;
    if (best.load_count != 0) ticket = kv_.begin_load(of, best.load_first, best.load_count);
    compute(each_ns * best.load_first);
    kv_.end_load(ticket);
    compute(each_ns * (chain_blocks - best.load_first - best.load_count));
    const auto took_ns = static_cast<double>(now_ns() - start_ns);
    const double predicted_ns = static_cast<double>(best.finish_ns);
    if (best.load_count != 0) {
      to.error.push_back(std::abs(predicted_ns - took_ns) / took_ns);
      to.factor.push_back(std::max(predicted_ns / took_ns, took_ns / predicted_ns));
    }
    return took_ns;
  }
  /// One of each, beginning with another every time.
  void take_turns(uint64_t each_ns, uint32_t round, times &to) {
    double took_ns[3] = {};
    for (uint32_t i = 0; i < 3; ++i) {
      const uint32_t which = (round + i) % 3;
      took_ns[which] = which == 0   ? load_all()
                       : which == 1 ? compute_all(each_ns)
                                    : as_split_says(each_ns, to);
    }
    to.load_ns.push_back(took_ns[0]);
    to.compute_ns.push_back(took_ns[1]);
    to.split_ns.push_back(took_ns[2]);
    to.ratio.push_back(std::min(took_ns[0], took_ns[1]) / took_ns[2]);
  }

 private:
  /// The one that was used longest ago: it is on disk alone.
  chain &next_chain() { return *chains_[next_++ % chains_.size()]; }

  cache &kv_;
  std::vector<std::unique_ptr<chain>> &chains_;
  size_t next_ = 0;
};

void print_row(bool busy, double speed, const times &of, bool first) {
  const double best_ns = std::min(quantile(of.load_ns, 0.5), quantile(of.compute_ns, 0.5));
  std::printf(
      "%s{\"disk\": \"%s\", \"compute_to_load\": %.2f, \"load_all_ms\": %.2f, "
      "\"recompute_all_ms\": %.2f, \"split_ms\": %.2f, \"ratio\": %.3f, \"ratio_paired\": %.3f, "
      "\"met\": %s, \"loads\": %zu",
      first ? "" : ", ", busy ? "busy" : "idle", speed, quantile(of.load_ns, 0.5) / 1e6,
      quantile(of.compute_ns, 0.5) / 1e6, quantile(of.split_ns, 0.5) / 1e6,
      best_ns / quantile(of.split_ns, 0.5), quantile(of.ratio, 0.5),
      best_ns / quantile(of.split_ns, 0.5) >= 0.97 ? "true" : "false", of.error.size());
  if (!of.error.empty()) {
    std::printf(", \"error_median\": %.3f, \"factor_p95\": %.2f", quantile(of.error, 0.5),
                quantile(of.factor, 0.95));
  }
  std::printf("}");
}

/// A token after the other, its experts by dice that are the same in both runtimes.
class expert_trial {
 public:
  expert_trial(const std::string &path, uint64_t between_bytes_per_s)
      : with_(path, between_bytes_per_s), without_(path, 0) {}

  /// Until it is known which way is quicker, and tiers are full.
  void settle(uint32_t tokens) {
    for (uint32_t token = 0; token < tokens; ++token) take_turns(token, false);
  }
  void measure(uint32_t tokens) {
    for (uint32_t token = 0; token < tokens; ++token) take_turns(token, true);
  }
  void print(const char *name, double bytes_per_s, bool first) const {
    const double ratio = quantile(without_ns_, 0.5) / quantile(with_ns_, 0.5);
    std::printf(
        "%s{\"between\": \"%s\", \"between_gb_per_s\": %.2f, \"file_alone_ms\": %.2f, "
        "\"with_it_ms\": %.2f, \"ratio\": %.3f, \"ratio_paired\": %.3f, \"met\": %s, "
        "\"stands_aside\": %s}",
        first ? "" : ", ", name, bytes_per_s / 1e9, quantile(without_ns_, 0.5) / 1e6,
        quantile(with_ns_, 0.5) / 1e6, ratio, quantile(ratio_, 0.5),
        ratio >= 0.97 ? "true" : "false", with_.stands_aside() ? "true" : "false");
  }

 private:
  static double token(expert_tiers &by, const std::vector<uint32_t> &numbers) {
    const uint64_t start_ns = now_ns();
    for (size_t i = 0; i < numbers.size(); i += expert_tiers::used)
      by.use({numbers.begin() + static_cast<std::ptrdiff_t>(i),
              numbers.begin() + static_cast<std::ptrdiff_t>(i + expert_tiers::used)});
    return static_cast<double>(now_ns() - start_ns);
  }
  void take_turns(uint32_t round, bool counts) {
    std::vector<uint32_t> numbers;
    for (uint32_t layer = 0; layer < expert_tiers::layers; ++layer) {
      const uint32_t one = static_cast<uint32_t>(rand_r(&dice_)) % expert_tiers::experts;
      const uint32_t other =
          (one + 1 + static_cast<uint32_t>(rand_r(&dice_)) % (expert_tiers::experts - 1)) %
          expert_tiers::experts;
      for (const uint32_t expert : {one, other})
        numbers.push_back(layer * expert_tiers::experts + expert);
    }
    double with_ns = 0, without_ns = 0;
    if (round % 2 == 0) with_ns = token(with_, numbers);
    without_ns = token(without_, numbers);
    if (round % 2 != 0) with_ns = token(with_, numbers);
    if (!counts) return;
    with_ns_.push_back(with_ns);
    without_ns_.push_back(without_ns);
    ratio_.push_back(without_ns / with_ns);
  }

  expert_tiers with_, without_;
  unsigned dice_ = 7;
  std::vector<double> with_ns_, without_ns_, ratio_;
};

void print_experts(const std::string &directory, uint32_t rounds) {
  const std::string path = directory + "/experts";
  expert_tiers::make_file(path);
  const struct {
    const char *name;
    uint64_t bytes_per_s;
  } links[] = {{"far slower", 50'000'000}, {"slower", 300'000'000}, {"faster", 20'000'000'000}};
  for (const auto &link : links) {
    expert_trial by(path, link.bytes_per_s);
    by.settle(40);
    by.measure(4 * rounds);
    by.print(link.name, static_cast<double>(link.bytes_per_s), &link == links);
  }
}

}  // namespace

int main(int argc, char **argv) {
  if (argc < 2) return std::fprintf(stderr, "never_slower DIRECTORY [rounds]\n"), 2;
  const std::string directory = std::string(argv[1]) + "/never_slower." + std::to_string(getpid());
  const auto rounds = static_cast<uint32_t>(argc > 2 ? std::strtoul(argv[2], nullptr, 0) : 36);
  std::filesystem::create_directories(directory);
  std::vector<char> memory(chain_blocks * block_bytes, 'm'), other(written_blocks * block_bytes);
  {
    cache kv(directory);
    std::vector<std::unique_ptr<chain>> chains;
    for (uint32_t c = 0; c < chain_count; ++c) {
      chains.push_back(std::make_unique<chain>("chain " + std::to_string(c), kv.space(),
                                               chain_blocks, memory.data()));
      kv.put(*chains[c], 0, chain_blocks);
    }
    trial by(kv, chains);
    std::vector<double> first;  // also shows the runtime how fast the disk is
    for (uint32_t c = 0; c < chain_count; ++c) first.push_back(by.load_all());
    const double load_ns = quantile(first, 0.5);
    std::vector<double> errors, factors;
    std::printf("{\"block_bytes\": %llu, \"blocks\": %u, \"rows\": [",
                static_cast<unsigned long long>(block_bytes), chain_blocks);
    for (const bool busy : {false, true}) {
      std::unique_ptr<other_load> load;
      if (busy) load = std::make_unique<other_load>(kv, other.data());
      for (const double speed : {0.25, 0.5, 1.0, 2.0, 4.0}) {
        const auto each_ns = static_cast<uint64_t>(speed * load_ns / chain_blocks);
        times of;
        for (uint32_t round = 0; round < rounds; ++round) {
          by.take_turns(each_ns, round, of);
        }
        print_row(busy, speed, of, !busy && speed == 0.25);
        errors.insert(errors.end(), of.error.begin(), of.error.end());
        factors.insert(factors.end(), of.factor.begin(), of.factor.end());
      }
    }
    std::printf("], \"error_median\": %.3f, \"factor_p95\": %.2f", quantile(errors, 0.5),
                quantile(factors, 0.95));
    std::printf(", \"experts\": [");
    print_experts(directory, rounds);
    std::printf("]}\n");
  }
  std::filesystem::remove_all(directory);
  return 0;
}
