// Least frequently used, with history: uses are counted whether or not the object is resident, so
// an object that keeps missing earns its place ("perfect LFU" of Breslau et al., "Web Caching and
// Zipf-like Distributions", INFOCOM 1999). Counts are halved from time to time, so that old fame
// fades (as the aging of Robinson and Devarakonda, "Data Cache Management Using Frequency-Based
// Replacement", SIGMETRICS 1990).
#include <cubby/policy.hpp>

#include <limits>

#include "placement/ranked.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

/// All counts are halved when the uses since the last halving reach this many per object.
constexpr uint64_t uses_per_object = 32;

/// Order of leaving: smallest count first, then the one used longest ago.
struct counted {
  uint32_t count = 0;
  uint64_t last_use = 0;
  auto operator<=>(const counted &) const = default;  // NOLINT(modernize-use-nullptr)
};

class lfu : public ranked<counted> {
 public:
  using ranked::ranked;

  void used(cubby_object object) {
    heap_.end_round(order());
    counted &one = items_[object];
    if (one.count < std::numeric_limits<uint32_t>::max()) ++one.count;
    one.last_use = ++clock_;
    heap_.moved(object, order());
    if (++uses_ >= uses_per_object * items_.size()) age();
  }
  void forget(cubby_object object) { items_[object] = {}; }
  [[nodiscard]] uint64_t state_bytes() const { return sizeof *this + table_bytes(); }

 private:
  void age() {
    // Halving merges neighbouring counts, whose order last_use then decides: the heap is made anew.
    for (counted &one : items_) one.count /= 2;
    heap_.rebuild(order());
    uses_ = 0;
  }

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
