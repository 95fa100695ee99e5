// ARC: Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003. Two
// lists of residents (used once lately, used more often) and the ghosts of both; a hit on a ghost
// moves the target size of the first list.
#include <cubby/policy.hpp>

#include "placement/describe.hpp"
#include "placement/object_list.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

class arc {
 public:
  explicit arc(const cubby_policy_config &config)
      : lists_(4, config.object_count), capacity_(capacity_of(config)) {}

  void used(cubby_object who) {
    if (resident(who)) lists_.renew(t2, who);
  }
  void inserted(cubby_object who, uint64_t) {
    const uint8_t from = lists_.where(who);
    lists_.renew(from == b1 || from == b2 ? t2 : t1, who);
    // Only where the budget shrank or lockers were dropped: the algorithm itself keeps to this.
    while (lists_.size(b1) + lists_.size(b2) > capacity_)
      lists_.take(lists_.oldest(lists_.size(b2) > 0 ? b2 : b1));
  }
  void removed(cubby_object who) {
    if (!resident(who)) return;
    walk_.leaving(lists_, who);
    if (lists_.where(who) == t2) {
      lists_.renew(b2, who);
    } else if (forget_next_) {
      lists_.take(who);
    } else {
      lists_.renew(b1, who);
    }
    forget_next_ = false;
  }
  void begin_victims(const cubby_policy_need &need) {
    const uint8_t from =
        need.incoming == CUBBY_NO_OBJECT ? object_lists::nowhere : lists_.where(need.incoming);
    forget_next_ = false;
    if (from == b1) {
      target_ = std::min<double>(capacity_, target_ + std::max(1.0, ratio(b2, b1)));
    } else if (from == b2) {
      target_ = std::max(0.0, target_ - std::max(1.0, ratio(b1, b2)));
    } else if (lists_.size(t1) + lists_.size(b1) >= capacity_) {
      // Case IV A: the first list and its ghosts fill the directory's half.
      if (lists_.size(b1) > 0)
        lists_.take(lists_.oldest(b1));
      else
        forget_next_ = true;
    } else if (lists_.size(t1) + lists_.size(b1) + lists_.size(t2) + lists_.size(b2) >=
               uint64_t{2} * capacity_) {
      if (lists_.size(b2) > 0) lists_.take(lists_.oldest(b2));
    }
    const double once = lists_.size(t1);
    const bool from_t1 =
        once >= 1 && (forget_next_ || once > target_ || (from == b2 && once >= target_));
    second_ = from_t1 ? t2 : t1;
    walk_.begin(lists_, from_t1 ? t1 : t2);
  }
  cubby_object next_victim() {
    const cubby_object who = walk_.next(lists_);
    if (who != CUBBY_NO_OBJECT || second_ == object_lists::nowhere) return who;
    walk_.begin(lists_, second_);
    second_ = object_lists::nowhere;
    return walk_.next(lists_);
  }
  void forget(cubby_object who) { lists_.take(who); }
  void grow(const cubby_policy_config &config) {
    lists_.grow(config.object_count);
    capacity_ = capacity_of(config);
  }
  [[nodiscard]] uint64_t state_bytes() const { return sizeof *this + lists_.bytes(); }

 private:
  static constexpr uint8_t t1 = 0, t2 = 1, b1 = 2, b2 = 3;

  [[nodiscard]] bool resident(cubby_object who) const { return lists_.where(who) <= t2; }
  [[nodiscard]] double ratio(uint8_t a, uint8_t b) const {
    return static_cast<double>(lists_.size(a)) / lists_.size(b);
  }

  object_lists lists_;
  list_walk walk_;
  uint32_t capacity_;
  double target_ = 0;  // p of the paper
  uint8_t second_ = object_lists::nowhere;
  bool forget_next_ = false;  // the victim leaves no ghost
};

}  // namespace

const cubby_policy_ops &arc_ops() {
  static const cubby_policy_ops ops =
      policy_ops<arc>("arc", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement
