// What recording adds to a pin and unpin of four resident lockers: in turns with and without.
#include <cubby/trace.h>

#include <algorithm>
#include <ctime>

#include "resident.hpp"

namespace {

constexpr uint32_t rounds = 21, pins = 20'000, pins_per_stats = 64, pins_drained = 2048;

double cpu_ns() {
  timespec now{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) * 1e9 + static_cast<double>(now.tv_nsec);
}

class bench {
 public:
  /// Processor time of a pin with everything around it.
  double round(bool recorded) {
    if (recorded) resident::need(cubby_trace_start(runtime_.rt, nullptr) == CUBBY_OK);
    const double before = cpu_ns();
    for (uint32_t i = 0; i < pins; ++i) {
      runtime_.pin_and_unpin(i % (resident::count - 4), 4);
      if (i % pins_per_stats == 0) deliver_visits();
      if (recorded && i % pins_drained == 0) drain();
    }
    if (recorded) drain();
    const double took = (cpu_ns() - before) / pins;
    if (recorded) {
      resident::need(cubby_trace_describe(runtime_.rt, &seen_) == CUBBY_OK);
      resident::need(cubby_trace_stop(runtime_.rt) == CUBBY_OK);
    }
    return took;
  }
  [[nodiscard]] double bytes_a_visit() const {
    return static_cast<double>(bytes_) / (static_cast<double>(pins) * rounds);
  }
  [[nodiscard]] unsigned long long lost() const { return seen_.lost_count; }

 private:
  /// The policies and the recorder hear of the visits.
  void deliver_visits() {
    cubby_stats_block block{};
    block.struct_size = sizeof block;
    resident::need(cubby_stats(runtime_.rt, &block, nullptr, 0) == CUBBY_OK);
  }
  void drain() {
    for (uint64_t got = 1; got != 0; bytes_ += got)
      resident::need(cubby_trace_read(runtime_.rt, piece_.data(), piece_.size(), &got) == CUBBY_OK);
  }

  resident runtime_;
  std::vector<char> piece_ = std::vector<char>(1 << 16);
  uint64_t bytes_ = 0;
  cubby_trace_info seen_ = {sizeof(cubby_trace_info), 0, 0, 0, 0, 0};
};

}  // namespace

int main() {
  bench of;
  std::vector<double> plain, more;
  of.round(false);
  for (uint32_t i = 0; i < rounds; ++i) {
    plain.push_back(of.round(false));
    more.push_back(of.round(true) - plain.back());
  }
  std::sort(plain.begin(), plain.end());
  std::sort(more.begin(), more.end());
  std::printf(
      "recording adds %.0f ns (%.0f to %.0f in the middle half) to %.0f ns of a pin of four "
      "resident lockers; %.1f bytes a visit, %llu lost\n",
      more[rounds / 2], more[rounds / 4], more[rounds - 1 - rounds / 4], plain[rounds / 2],
      of.bytes_a_visit(), of.lost());
  return 0;
}
