// Least frequently used, with history: uses are counted whether or not the object is resident, so
// an object that keeps missing earns its place ("perfect LFU" of Breslau et al., "Web Caching and
// Zipf-like Distributions", INFOCOM 1999). Counts are halved from time to time, so that old fame
// fades (as the aging of Robinson and Devarakonda, "Data Cache Management Using Frequency-Based
// Replacement", SIGMETRICS 1990).
#include <cubby/policy.hpp>

#include <limits>

#include "placement/registry.hpp"
#include "placement/victim_heap.hpp"

namespace cubby::placement {
namespace {

/// All counts are halved when the uses since the last halving reach this many per object.
constexpr uint64_t uses_per_object = 32;

/// Order of leaving: smallest count first, then the one used longest ago.
class lfu {
  struct item {
    uint64_t last_use = 0;
    uint32_t count = 0;
  };

  [[nodiscard]] auto order() const {
    return [this](cubby_object a, cubby_object b) {
      const item &x = items_[a], &y = items_[b];
      if (x.count != y.count) return x.count < y.count;
      if (x.last_use != y.last_use) return x.last_use < y.last_use;
      return a < b;
    };
  }

 public:
  explicit lfu(const cubby_policy_config &config)
      : items_(config.object_count), heap_(config.object_count) {}

  void used(cubby_object who) {
    heap_.end_round(order());
    item &one = items_[who];
    if (one.count < std::numeric_limits<uint32_t>::max()) ++one.count;
    one.last_use = ++clock_;
    heap_.moved(who, order());
    if (++uses_ >= uses_per_object * items_.size()) age();
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
  void age() {
    // Halving merges neighbouring counts, whose order last_use then decides: the heap is made anew.
    for (item &one : items_) one.count /= 2;
    heap_.rebuild(order());
    uses_ = 0;
  }

  std::vector<item> items_;
  victim_heap heap_;
  uint64_t clock_ = 0;  // uses seen
  uint64_t uses_ = 0;   // since the last halving
};

}  // namespace

const cubby_policy_ops &lfu_ops() {
  static const cubby_policy_ops ops =
      policy_ops<lfu>("lfu", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement
