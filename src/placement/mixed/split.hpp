// How a tier is divided between classes of objects: by the time that more room would have saved
// each. What is missed after it left, or was declined, tells it: so much stall for so many bytes.
// The class that would gain more gets more, in steps, with floors and hysteresis.
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

  /// An object was missed that had left when so many bytes less had left its class: with that much
  /// more room it would not have been.
  void missed(uint32_t of, double bytes_left_since, double stall_ns) {
    for (uint32_t i = 0; i < room_count; ++i)
      if (bytes_left_since <= room(i)) gain_ns_[of][i] += stall_ns;
  }
  /// Bytes came to a class. True: the shares have changed.
  bool came(double bytes) {
    moved_bytes_ += bytes;
    if (moved_bytes_ < budget_ * compared_every) return false;
    moved_bytes_ = 0;
    const double gains[] = {gain(0), gain(1)};
    for (auto &of_class : gain_ns_)
      for (double &one : of_class) one *= memory;
    const uint32_t winner = gains[0] > gains[1] ? 0 : 1, loser = 1 - winner;
    if (gains[winner] <= hysteresis * gains[loser]) return false;
    // Who moves to and fro pays for it with what has to leave each time: large steps only where the
    // lead is clear.
    const double lead = 1 - gains[loser] / gains[winner];
    const double given = std::min(step_max * lead * lead * lead, share_[loser] - floor_share);
    if (given <= 0) return false;
    share_[winner] += given;
    share_[loser] -= given;
    return true;
  }

 private:
  static constexpr uint32_t room_count = 6;
  static constexpr double rooms[room_count] = {0.025, 0.05, 0.1, 0.2, 0.4, 0.8};  // of the budget
  static constexpr double compared_every = 0.1;  // of the budget: that much has come
  static constexpr double step_max = 0.05;       // of the budget
  static constexpr double floor_share = 0.02;
  static constexpr double hysteresis = 1.5;
  static constexpr double memory = 0.95;

  [[nodiscard]] double room(uint32_t i) const { return rooms[i] * budget_; }
  /// For each byte of the room that is best for the class: some gain only where it is large.
  [[nodiscard]] double gain(uint32_t of) const {
    double best = 0;
    for (uint32_t i = 0; i < room_count; ++i) best = std::max(best, gain_ns_[of][i] / room(i));
    return best;
  }

  double budget_ = 0, share_[class_count] = {0.5, 0.5};
  double gain_ns_[class_count][room_count] = {}, moved_bytes_ = 0;
};

}  // namespace cubby::placement::mixed
