// ARC: Megiddo and Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003. Two
// lists of residents (used once lately, used more often) and the ghosts of both; a hit on a ghost
// moves the target size of the first list.
#include <algorithm>
#include <cubby/policy.hpp>
#include <vector>

#include "placement/describe.hpp"
#include "placement/newcomers.hpp"
#include "placement/object_list.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

class arc {
 public:
  explicit arc(const cubby_policy_config &config)
      : lists_(4, config.object_count),
        taught_(config.object_count),
        capacity_(capacity_of(config)) {}

  void used(cubby_object object) {
    newcomers_.settle();
    taught_[object] = 0;
    if (resident(object)) lists_.renew(t2, object);
  }
  void inserted(cubby_object object, uint64_t) {
    const uint8_t from = lists_.list_of(object);
    lists_.renew(from == b1 || from == b2 ? t2 : t1, object);
    newcomers_.came(object, from);
    // Only where the budget shrank or lockers were dropped: the algorithm itself keeps to this.
    while (lists_.size(b1) + lists_.size(b2) > capacity_)
      lists_.take(lists_.oldest(lists_.size(b2) > 0 ? b2 : b1));
  }
  void removed(cubby_object object) {
    if (!resident(object)) return;
    walk_.leaving(lists_, object);
    if (const auto from = newcomers_.take(object)) {
      lists_.take(object);
      if (*from == b1 || *from == b2) lists_.renew(*from, object);
    } else if (lists_.list_of(object) == t2) {
      lists_.renew(b2, object);
    } else if (forget_next_) {
      lists_.take(object);
    } else {
      lists_.renew(b1, object);
    }
    forget_next_ = false;
  }
  void begin_victims(const cubby_policy_need &need) {
    const uint8_t from =
        need.incoming == CUBBY_NO_OBJECT ? object_lists::nowhere : lists_.list_of(need.incoming);
    forget_next_ = false;
    if (from == b1 || from == b2) {
      adapt(need.incoming, from);
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
    cubby_object object = walk_.next(lists_);
    if (object == CUBBY_NO_OBJECT && second_ != object_lists::nowhere) {
      walk_.begin(lists_, second_);
      second_ = object_lists::nowhere;
      object = walk_.next(lists_);
    }
    newcomers_.named(object);
    return object;
  }
  void forget(cubby_object object) { lists_.take(object); }
  void grow(const cubby_policy_config &config) {
    lists_.grow(config.object_count);
    if (config.object_count > taught_.size()) taught_.resize(config.object_count);
    capacity_ = capacity_of(config);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + lists_.bytes() + taught_.capacity();
  }

 private:
  static constexpr uint8_t t1 = 0, t2 = 1, b1 = 2, b2 = 3;

  [[nodiscard]] bool resident(cubby_object object) const { return lists_.list_of(object) <= t2; }
  [[nodiscard]] double ratio(uint8_t a, uint8_t b) const {
    return static_cast<double>(lists_.size(a)) / lists_.size(b);
  }

  /// The target moves once a use: room is asked for again while a set waits for all of its places.
  void adapt(cubby_object object, uint8_t ghosts) {
    if (taught_[object] != 0) return;
    taught_[object] = 1;
    if (ghosts == b1)
      target_ = std::min<double>(capacity_, target_ + std::max(1.0, ratio(b2, b1)));
    else
      target_ = std::max(0.0, target_ - std::max(1.0, ratio(b1, b2)));
  }

  object_lists lists_;
  newcomers newcomers_;
  std::vector<uint8_t> taught_;  // by its last use
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
