#include "look_ahead.hpp"

#include <algorithm>

#include "run_counters.hpp"

namespace cubby_ggml {
namespace {

/// Experts after which what was right of them counts half.
constexpr double memory = 512;
/// Too few to judge by.
constexpr double too_few = 64;
/// While forecasts are bad, one layer in so many is forecast, to see whether they still are.
constexpr uint64_t look_again = 16;

}  // namespace

void look_ahead::begin_layer(const expert_place &place, std::span<const uint64_t> experts,
                             bool missed) {
  const bool was_forecast =
      !work_.chosen.empty() && place.bank == place_.bank && place.row == place_.row + 1;
  if (was_forecast) {
    const auto named = static_cast<uint64_t>(work_.chosen.size());
    const auto right = static_cast<uint64_t>(
        std::count_if(work_.chosen.begin(), work_.chosen.end(), [&](uint16_t one) {
          return std::binary_search(experts.begin(), experts.end(), uint64_t{one});
        }));
    counters().compare_forecast(named, right);
    const double fading = memory / (memory + static_cast<double>(named));
    named_ = named_ * fading + static_cast<double>(named);
    right_ = right_ * fading + static_cast<double>(right);
  }
  work_.chosen.clear();
  place_ = place;
  ++layers_;
  since_miss_ = missed ? 0 : since_miss_ + 1;
  const uint64_t now_ns = clock_ns();
  if (begun_ns_ != 0) pace_ns_ = (3 * pace_ns_ + (now_ns - begun_ns_)) / 4;
  begun_ns_ = now_ns;
}

bool look_ahead::is_good() const { return named_ < too_few || 2 * right_ >= named_; }

void look_ahead::ask_for_next(const ggml_tensor &input, uint32_t top_k, uint32_t room) {
  const uint32_t rows = place_.bank->rows();
  // What has found all in memory for two tokens has nothing to read.
  if (place_.routers == nullptr || since_miss_ > 2 * uint64_t{rows} || room == 0) return;
  const bool good = is_good();
  if (!good && layers_ % look_again != 0) return;
  place_.routers->after(place_.row, input, top_k, work_);
  if (!good || work_.chosen.empty()) return;
  const std::span<const uint16_t> all(work_.chosen);
  store().expect(place_, place_.row + 1, all.first(std::min<size_t>(all.size(), room)),
                 2 * pace_ns_);
}

}  // namespace cubby_ggml
