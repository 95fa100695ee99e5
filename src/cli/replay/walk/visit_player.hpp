// Plays visits of experts against a cache driver.
#pragma once

#include "cli/replay/walk/cache_driver.hpp"
#include "cli/replay/walk/event_log.hpp"

namespace cubby_cli::replay {

template <class Driver>
class visit_player {
 public:
  /// `log` may be none.
  visit_player(const expert_schedule &of, const cubby_policy_ops &ops, Driver &driver,
               event_log *log)
      : of_(of), ops_(ops), driver_(driver), log_(log) {
    visit_.struct_size = sizeof visit_;
  }
  /// How many hits there were.
  [[gnu::always_inline]] uint32_t play(uint64_t number, uint64_t now_ns) {
    fill(number);
    visit_.now_ns = now_ns;
    missing_.clear();
    for (uint32_t i = 0; i < visit_.used_count; ++i) {
      if (!driver_.resident(visit_.used[i])) missing_.push_back(visit_.used[i]);
    }
    // A policy with admit() is asked after the visit, when nothing is pinned by it.
    if (ops_.admit == nullptr) driver_.pin(visit_.used, visit_.used_count);
    if (log_ != nullptr) log_->used(number, {visit_.used, visit_.used_count}, missing_);
    ops_.visit(driver_.policy(), &visit_);
    for (const cubby_object object : missing_)
      if (!driver_.bring(object, now_ns)) break;
    if (log_ != nullptr) log_->ended();
    return visit_.used_count - static_cast<uint32_t>(missing_.size());
  }

 private:
  [[gnu::always_inline]] void fill(uint64_t number) {
    const visit_record &one = of_.visits[number];
    visit_.row = one.row;
    visit_.prefill = one.prefill;
    visit_.used = of_.used.data() + one.first_used;
    visit_.used_count = one.used_count;
    visit_.routes = of_.routes.data() + one.first_route;
    visit_.route_count = one.route_count;
    visit_.number = number;
    if ((ops_.flags & CUBBY_POLICY_OFFLINE) == 0) return;
    next_.clear();
    for (uint32_t i = 0; i < one.used_count; ++i)
      next_.push_back(from_next(of_.next[one.first_used + i]));
    visit_.next_use = next_.data();
  }

  const expert_schedule &of_;
  const cubby_policy_ops &ops_;
  Driver &driver_;
  event_log *const log_;
  cubby_policy_visit visit_ = {};
  std::vector<uint64_t> next_;
  std::vector<cubby_object> missing_;
};

}  // namespace cubby_cli::replay
