#include "run_counters.hpp"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "expert_store.hpp"

namespace cubby_ggml {
namespace {

double seconds(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

void print_summary() {
  cubby_stats_block block = {};
  cubby_tier_stats tiers[2] = {};
  if (counters().tokens() == 0 || !store().read_counters(block, tiers)) return;
  const cubby_tier_stats &host = tiers[0];
  const uint64_t asked = host.hit_count + host.miss_count;
  char speed[64] = "";
  if (counters().decoded() > 0)
    std::snprintf(speed, sizeof speed, ", %.2f tokens/s one by one",
                  static_cast<double>(counters().decoded()) / seconds(counters().decode_ns()));
  std::fprintf(
      stderr,
      "cubby: %llu tokens%s; %llu experts asked for, %.1f %% found in memory; %s read, "
      "waited %.2f s\n",
      static_cast<unsigned long long>(counters().tokens()), speed,
      static_cast<unsigned long long>(asked),
      asked == 0 ? 0.0 : 100.0 * static_cast<double>(host.hit_count) / static_cast<double>(asked),
      bytes_text(tiers[1].bytes_out).c_str(), seconds(counters().wait_ns()));
  std::fprintf(stderr,
               "cubby: memory for experts %s at most of %s, tables %s; %llu evicted, %llu damaged, "
               "%s without a digest%s\n",
               bytes_text(host.peak_bytes).c_str(), bytes_text(host.budget_bytes).c_str(),
               bytes_text(block.table_bytes + block.policy_bytes + block.digest_bytes).c_str(),
               static_cast<unsigned long long>(host.evict_count),
               static_cast<unsigned long long>(host.corrupt_count),
               bytes_text(block.unverified_bytes).c_str(),
               host.miss_count > 0 && host.evict_count == 0
                   ? "; nothing was evicted: it would have fitted without cubby"
                   : "");
}

}  // namespace

uint64_t clock_ns() {
  return static_cast<uint64_t>(std::chrono::duration_cast<std::chrono::nanoseconds>(
                                   std::chrono::steady_clock::now().time_since_epoch())
                                   .count());
}

void run_counters::begin_batch(int64_t tokens) {
  const uint64_t now_ns = clock_ns();
  const uint64_t since_ns = single_since_ns_.exchange(tokens == 1 ? now_ns : 0);
  tokens_ += static_cast<uint64_t>(tokens);
  if (since_ns == 0) return;
  ++decoded_;
  decode_ns_ += now_ns - since_ns;
}

run_counters &counters() {
  static run_counters one;
  return one;
}

void summarize_at_exit() {
  static std::once_flag once;
  std::call_once(once, [] {
    (void)counters();  // made first, so that it is still there when the summary is printed
    if (store().chosen().summary) std::atexit(print_summary);
  });
}

}  // namespace cubby_ggml
