// Bounds the regret of experts and blocks together against LRU: a shadow LRU over all objects, with
// names alone. What it holds and the tier does not is what LRU could still save more; while the
// time saved against LRU does not pay for that, LRU decides. So no load takes the tier far below
// LRU.
#pragma once

#include <span>
#include <vector>

#include "placement/mixed/prices.hpp"
#include "placement/object_list.hpp"

namespace cubby::placement::mixed {

class lru_guard {
 public:
  /// Of no object yet; `of` is asked on and on.
  explicit lru_guard(const prices &of) : of_(of), lists_(2, 0) {}

  /// The budget, the objects or their prices are others.
  void change(const cubby_policy_config &config);
  [[nodiscard]] bool resident(cubby_object object) const { return resident_[object] != 0; }
  void inserted(cubby_object object);
  void removed(cubby_object object);

  /// Uses of experts, or of a block; before the missing ones are inserted.
  void visit(std::span<const cubby_object> used);
  void access(cubby_object object, uint64_t request);

  void begin_round();
  /// Settled by the last use.
  [[nodiscard]] bool decides() const { return decides_; }
  /// Victims as LRU would have them: those first that it would have given up already.
  cubby_object next();

  [[nodiscard]] uint64_t takeovers() const { return takeovers_; }
  [[nodiscard]] uint64_t memory_bytes() const {
    return lists_.bytes() + resident_.capacity() + mark_of_.capacity() +
           touched_.capacity() * sizeof(cubby_object);
  }

 private:
  static constexpr uint8_t shadow = 0, spare = 1;  // what LRU holds; what it does not and is here

  [[nodiscard]] bool in_shadow(cubby_object object) const {
    return lists_.list_of(object) == shadow;
  }
  [[nodiscard]] bool under_way(cubby_object object) const {
    return mark_ != 0 && mark_of_[object] == mark_;
  }
  void take(cubby_object object);
  void touch(cubby_object object);
  void forget_oldest();
  void end_request();
  void settle();
  cubby_object next_of(uint8_t list, bool of_request);

  const prices &of_;
  object_lists lists_;
  std::vector<uint8_t> resident_;
  std::vector<uint8_t> mark_of_;       // of the last request that touched it, one of 255
  std::vector<cubby_object> touched_;  // by the request under way
  uint64_t request_ = ~uint64_t{0};
  uint8_t mark_ = 0, last_mark_ = 0;  // of the request under way; 0 = none is
  double budget_bytes_ = 0, shadow_bytes_ = 0;
  double lead_ns_ = 0, allowed_ns_ = 0;  // saved against LRU; what may be lost against it
  double missing_ns_ = 0;                // of what LRU holds and the tier does not
  double run_ns_[2] = {};                // of the leading run under way: ours, LRU's
  bool run_open_[2] = {};
  // Of a list: what lies before is of the request under way, or not resident. Of a round: at, pass.
  cubby_object from_[2] = {CUBBY_NO_OBJECT, CUBBY_NO_OBJECT};
  cubby_object at_ = CUBBY_NO_OBJECT;
  uint32_t pass_ = 0;
  bool entered_ = false, decides_ = false;
  uint64_t takeovers_ = 0;
};

}  // namespace cubby::placement::mixed
