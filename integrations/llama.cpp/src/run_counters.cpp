#include "run_counters.hpp"

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <mutex>

#include "expert_store.hpp"

namespace cubby_ggml {
namespace {

double seconds(uint64_t ns) { return static_cast<double>(ns) / 1e9; }

unsigned long long count(uint64_t value) { return value; }

std::string percent(uint64_t part, uint64_t of) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f %%",
                of == 0 ? 0.0 : 100.0 * static_cast<double>(part) / static_cast<double>(of));
  return text;
}

std::string speed_text() {
  if (counters().decoded() == 0) return "";
  char text[64];
  std::snprintf(text, sizeof text, ", %.2f tokens/s one by one",
                static_cast<double>(counters().decoded()) / seconds(counters().decode_ns()));
  return text;
}

/// What the experts that were waited for waited for, each on its own: several wait at once.
std::string causes_text(const cubby_stats_block &block) {
  const struct {
    const char *name;
    uint64_t ns;
  } causes[] = {{"reads", block.stall_read_ns},
                {"reads under way", block.stall_join_ns},
                {"room", block.stall_frame_wait_ns},
                {"copies", block.stall_copy_ns},
                {"hand-over", block.stall_handoff_ns}};
  uint64_t all_ns = 0;
  for (const auto &one : causes) all_ns += one.ns;
  std::string text;
  for (const auto &one : causes)
    if (one.ns * 1000 >= all_ns && one.ns > 0)
      text += (text.empty() ? ": " : ", ") + percent(one.ns, all_ns) + " for " + one.name;
  return text;
}

/// Where plain llama.cpp would have been as fast, so that nobody goes on with what does not help.
void print_whether_it_pays(const cubby_tier_stats &host) {
  const uint64_t model_bytes = store().most_file_bytes();
  const uint64_t there_bytes = room_bytes(host.budget_bytes);
  if (model_bytes < there_bytes)
    std::fprintf(stderr,
                 "cubby: it does not pay here: all %s of the model would fit in the %s of memory "
                 "there is, and be as fast without cubby\n",
                 bytes_text(model_bytes).c_str(), bytes_text(there_bytes).c_str());
  else if (host.evict_count == 0)
    std::fprintf(stderr,
                 "cubby: nothing was evicted: for what was used of the model it would have been as "
                 "fast without cubby\n");
}

/// What went on all the same, but not as well as it should.
void print_errors() {
  constexpr size_t most = 5;
  const auto errors = store().take_errors();
  for (size_t i = 0; i < std::min(errors.size(), most); ++i) say(errors[i]);
  if (errors.size() > most)
    say(std::to_string(errors.size() - most) + " more errors are not shown");
}

void print_summary() {
  cubby_stats_block block = {};
  cubby_tier_stats tiers[2] = {};
  if (counters().tokens() == 0 || !store().read_counters(block, tiers)) return;
  const cubby_tier_stats &host = tiers[0];
  const uint64_t asked = host.hit_count + host.miss_count;
  std::fprintf(stderr,
               "cubby: %llu tokens%s; %llu experts asked for, %s found in memory; %s read\n",
               count(counters().tokens()), speed_text().c_str(), count(asked),
               percent(host.hit_count, asked).c_str(), bytes_text(tiers[1].bytes_out).c_str());
  std::fprintf(stderr, "cubby: waited %.2f s%s\n", seconds(counters().wait_ns()),
               causes_text(block).c_str());
  std::fprintf(stderr,
               "cubby: memory for experts %s at most of %s, tables %s; %llu evicted, %llu damaged, "
               "%s without a digest\n",
               bytes_text(host.peak_bytes).c_str(), bytes_text(host.budget_bytes).c_str(),
               bytes_text(block.table_bytes + block.policy_bytes + block.digest_bytes).c_str(),
               count(host.evict_count), count(host.corrupt_count),
               bytes_text(block.unverified_bytes).c_str());
  if (counters().named() != 0)
    std::fprintf(stderr, "cubby: %llu experts read ahead for a next layer, %s of them used by it\n",
                 count(counters().named()),
                 percent(counters().right(), counters().named()).c_str());
  print_errors();
  print_whether_it_pays(host);
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
