// LRU-K with K = 2: O'Neil, O'Neil and Weikum, "The LRU-K Page Replacement Algorithm for Database
// Disk Buffering", SIGMOD 1993. The victim is who was used for the last time but one longest ago;
// who was used only once counts as never before, and among those the least recently used leaves.
// History is kept for objects that are gone; the correlated reference period is 0.
#include <cubby/policy.hpp>

#include "placement/registry.hpp"
#include "placement/victim_heap.hpp"

namespace cubby::placement {
namespace {

class lru2 {
  struct item {
    uint64_t before = 0, last = 0;  // the last use but one, and the last; 0 = none
  };

  [[nodiscard]] auto order() const {
    return [this](cubby_object a, cubby_object b) {
      const item &x = items_[a], &y = items_[b];
      if (x.before != y.before) return x.before < y.before;
      if (x.last != y.last) return x.last < y.last;
      return a < b;
    };
  }

 public:
  explicit lru2(const cubby_policy_config &config)
      : items_(config.object_count), heap_(config.object_count) {}

  void used(cubby_object who) {
    heap_.end_round(order());
    items_[who] = {items_[who].last, ++clock_};
    heap_.moved(who, order());
  }
  void inserted(cubby_object who, uint64_t) { heap_.insert(who, order()); }
  void removed(cubby_object who) { heap_.remove(who, order()); }
  void begin_victims(const cubby_policy_need &) { heap_.end_round(order()); }
  cubby_object next_victim() { return heap_.next(order()); }
  void forget(cubby_object who) { items_[who] = {}; }
  void grow(const cubby_policy_config &config) {
    heap_.grow(config.object_count);
    if (config.object_count > items_.size()) items_.resize(config.object_count);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + heap_.bytes() + items_.capacity() * sizeof(item);
  }

 private:
  std::vector<item> items_;
  victim_heap heap_;
  uint64_t clock_ = 0;
};

}  // namespace

const cubby_policy_ops &lru2_ops() {
  static const cubby_policy_ops ops =
      policy_ops<lru2>("lru-2", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement
