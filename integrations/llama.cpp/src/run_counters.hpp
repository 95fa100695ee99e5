// What the summary at exit tells of the products, beside the runtime's own counters.
#pragma once

#include <atomic>
#include <cstdint>

namespace cubby_ggml {

class run_counters {
 public:
  /// The first layer with experts is at hand for a batch of so many tokens. Of a batch of one token
  /// the time to the next batch is taken for that of a token.
  void begin_batch(int64_t tokens);
  void waited(uint64_t ns) { wait_ns_ += ns; }

  /// So many experts were read before their layer was at hand; it used so many of them.
  void compare_forecast(uint64_t named, uint64_t right) { named_ += named, right_ += right; }

  uint64_t tokens() const { return tokens_; }
  uint64_t wait_ns() const { return wait_ns_; }
  /// Tokens that came alone and were followed by another batch, and their time.
  uint64_t decoded() const { return decoded_; }
  uint64_t decode_ns() const { return decode_ns_; }
  uint64_t named() const { return named_; }
  uint64_t right() const { return right_; }

 private:
  std::atomic<uint64_t> tokens_ = 0, wait_ns_ = 0, decoded_ = 0, decode_ns_ = 0;
  std::atomic<uint64_t> named_ = 0, right_ = 0;
  std::atomic<uint64_t> single_since_ns_ = 0;  // 0 = the batch under way has several tokens
};

uint64_t clock_ns();
/// Those of this process.
run_counters &counters();
/// From now on the process's end prints what was counted, if the settings ask for it.
void summarize_at_exit();

}  // namespace cubby_ggml
