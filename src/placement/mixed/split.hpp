// How a tier is divided between classes of objects: by the time that a little more room would have
// saved each. What is missed soon after it left, or was declined, tells it: so much stall for so
// many bytes. The class that would gain more gets more, in steps, with floors and hysteresis.
#pragma once

#include <algorithm>
#include <cstdint>

namespace cubby::placement::mixed {

class split {
 public:
  static constexpr uint32_t class_count = 2;

  explicit split(uint64_t budget) { set_budget(budget); }

  void set_budget(uint64_t bytes) { budget_ = static_cast<double>(bytes); }
  /// Of a class: what it should hold, in bytes.
  [[nodiscard]] double target(uint32_t of) const { return share_[of] * budget_; }
  /// What was missed would not have been with this much more room.
  [[nodiscard]] double step_bytes() const { return budget_ * looked_at; }

  /// An object was missed that had left when so many bytes less had left its class.
  void missed(uint32_t of, double bytes_left_since, double stall_ns) {
    if (bytes_left_since <= step_bytes()) gain_ns_[of] += stall_ns;
  }
  /// Bytes came to a class. True: the shares have changed.
  bool came(double bytes) {
    moved_bytes_ += bytes;
    if (moved_bytes_ < budget_ * compared_every) return false;
    moved_bytes_ = 0;
    const uint32_t winner = gain_ns_[0] > gain_ns_[1] ? 0 : 1, loser = 1 - winner;
    const bool clear = gain_ns_[winner] > hysteresis * gain_ns_[loser];
    for (double &gain : gain_ns_) gain *= memory;
    const double given = std::min(step, share_[loser] - floor_share);
    if (!clear || given <= 0) return false;
    share_[winner] += given;
    share_[loser] -= given;
    return true;
  }

 private:
  static constexpr double looked_at = 0.1;        // of the budget
  static constexpr double compared_every = 0.02;  // of the budget: that much has come
  static constexpr double step = 0.02;            // of the budget
  static constexpr double floor_share = 0.05;
  static constexpr double hysteresis = 1.25;
  static constexpr double memory = 0.8;

  double budget_ = 0, share_[class_count] = {0.5, 0.5};
  double gain_ns_[class_count] = {}, moved_bytes_ = 0;
};

}  // namespace cubby::placement::mixed
