// LRU-K with K = 2: O'Neil, O'Neil and Weikum, "The LRU-K Page Replacement Algorithm for Database
// Disk Buffering", SIGMOD 1993. The victim is the object whose last use but one is the oldest;
// an object used once has none and leaves first, the least recently used before the others.
// Absent objects have a history too; the correlated reference period is 0.
#include <cubby/policy.hpp>

#include "placement/ranked.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

struct last_two {
  uint64_t before = 0, last = 0;  // the last use but one, and the last; 0 = none
  auto operator<=>(const last_two &) const = default;  // NOLINT(modernize-use-nullptr)
};

class lru2 : public ranked<last_two> {
 public:
  using ranked::ranked;

  void used(cubby_object object) {
    heap_.end_round(order());
    items_[object] = {items_[object].last, ++clock_};
    heap_.moved(object, order());
  }
  void forget(cubby_object object) { items_[object] = {}; }
  [[nodiscard]] uint64_t state_bytes() const { return sizeof *this + table_bytes(); }

 private:
  uint64_t clock_ = 0;
};

}  // namespace

const cubby_policy_ops &lru2_ops() {
  static const cubby_policy_ops ops =
      policy_ops<lru2>("lru-2", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement
