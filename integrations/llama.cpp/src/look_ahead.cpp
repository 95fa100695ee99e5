#include "look_ahead.hpp"

#include <algorithm>

#include "run_counters.hpp"

namespace cubby_ggml {
namespace {

/// Forecasts after which what was right of them counts half; and too few to judge by.
constexpr double memory = 128, too_few = 8;
/// What is read for nothing delays what is needed: at most a fifth.
constexpr double right_min = 0.8;
/// While no forecasts are good, one layer in so many has some, to see whether they still are not.
constexpr uint64_t look_again = 16;

}  // namespace

bool look_ahead::record::is_good() const { return named < too_few || right >= right_min * named; }

void look_ahead::record::add(bool was_right) {
  constexpr double fading = memory / (memory + 1);
  named = named * fading + 1;
  right = right * fading + (was_right ? 1 : 0);
}

void look_ahead::compare(std::span<const uint64_t> experts) {
  for (const router_forecast::expected &one : expected_)
    of_rank(one.rank).add(std::binary_search(experts.begin(), experts.end(), one.expert));
  const auto used = std::count_if(asked_.begin(), asked_.end(), [&](uint16_t expert) {
    return std::binary_search(experts.begin(), experts.end(), expert);
  });
  counters().compare_forecast(asked_.size(), static_cast<uint64_t>(used));
}

void look_ahead::begin_layer(const expert_place &place, std::span<const uint64_t> experts,
                             bool missed) {
  if (place.bank == place_.bank && place.row == place_.row + 1) compare(experts);
  expected_.clear();
  asked_.clear();
  place_ = place;
  ++layers_;
  since_miss_ = missed ? 0 : since_miss_ + 1;
  const uint64_t now_ns = clock_ns();
  if (begun_ns_ != 0) pace_ns_ = (3 * pace_ns_ + (now_ns - begun_ns_)) / 4;
  begun_ns_ = now_ns;
}

void look_ahead::ask_for_next(const ggml_tensor &input, uint32_t top_k, uint32_t room) {
  const uint32_t rows = place_.bank->rows();
  // What has found all in memory for two tokens has nothing to read.
  if (place_.routers == nullptr || since_miss_ > 2 * uint64_t{rows} || room == 0) return;
  const bool any_good =
      std::any_of(records_.begin(), records_.begin() + std::min<size_t>(top_k, ranks),
                  [](const record &one) { return one.is_good(); });
  if (!any_good && layers_ % look_again != 0) return;
  place_.routers->after(place_.row, input, top_k, work_);
  expected_ = work_.chosen;
  store().keep_missing(place_, place_.row + 1, expected_);
  for (const router_forecast::expected &one : expected_)
    if (asked_.size() < room && of_rank(one.rank).is_good()) asked_.push_back(one.expert);
  if (!asked_.empty()) store().expect(place_, place_.row + 1, asked_, 2 * pace_ns_);
}

}  // namespace cubby_ggml
