#include "cli/characterize/steps.hpp"

#include <algorithm>
#include <cmath>

namespace cubby_cli::characterize {
namespace {

constexpr double usual_point_seconds = 2, quick_point_seconds_max = 0.6,
                 quick_point_seconds_min = 0.02;

std::string left_text(double seconds) {
  const auto whole = static_cast<uint64_t>(std::ceil(std::max(0.0, seconds)));
  return whole < 100 ? std::to_string(whole) + " s" : std::to_string((whole + 59) / 60) + " min";
}

}  // namespace

void steps::add(std::string what, double points, double fixed_seconds, action run) {
  all_.push_back({std::move(what), points, fixed_seconds, std::move(run)});
}

double steps::seconds_of(const pace &allowed, const balance &at) {
  if (allowed.point_seconds) return *allowed.point_seconds;
  if (!allowed.all_seconds) return usual_point_seconds;
  if (at.points_left <= 0) return quick_point_seconds_max;
  return std::clamp((*allowed.all_seconds - at.used_seconds - at.fixed_left) / at.points_left,
                    quick_point_seconds_min, quick_point_seconds_max);
}

done steps::run(const pace &allowed, progress_line &line) const {
  const uint64_t start_ns = clock_ns();
  balance at;
  for (const step &one : all_) {
    at.points_left += one.points;
    at.fixed_left += one.fixed_seconds;
  }
  // Points have been later than foreseen, so what is left will be; a few say little yet.
  double late_seconds = 0, points_done = 8;
  for (size_t i = 0; i < all_.size(); i++) {
    const step &one = all_[i];
    at.used_seconds = seconds_since(start_ns);
    balance foreseen = at;
    foreseen.fixed_left += std::max(0.0, late_seconds) * at.points_left / points_done;
    const double seconds = seconds_of(allowed, foreseen);
    if (line.due())
      line.show("step " + std::to_string(i + 1) + " of " + std::to_string(all_.size()) + ", " +
                left_text(at.points_left * seconds + foreseen.fixed_left) + " left: " + one.what);
    if (auto measured = one.run(seconds); !measured) return measured;
    if (one.points > 0)
      late_seconds +=
          seconds_since(start_ns) - at.used_seconds - one.points * seconds - one.fixed_seconds;
    points_done += one.points;
    at.points_left -= one.points;
    at.fixed_left -= one.fixed_seconds;
  }
  return nothing{};
}

}  // namespace cubby_cli::characterize
