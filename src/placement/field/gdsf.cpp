// GDSF: Cherkasova, "Improving WWW Proxies Performance with Greedy-Dual-Size-Frequency Caching
// Policy", HP Laboratories 1998. Rank = clock + uses while resident × cost / size; the clock is the
// rank of the last victim, so that objects not used any more are overtaken.
#include <cubby/policy.hpp>

#include "placement/describe.hpp"
#include "placement/newcomers.hpp"
#include "placement/registry.hpp"
#include "placement/victim_heap.hpp"

namespace cubby::placement {
namespace {

class gdsf {
  struct item {
    double rank = 0, bytes = 1;
    float cost = 1;
    uint32_t uses = 0;
    uint64_t moved = 0;
  };

  [[nodiscard]] auto order() const {
    return [this](cubby_object a, cubby_object b) {
      const item &x = items_[a], &y = items_[b];
      return x.rank != y.rank ? x.rank < y.rank : x.moved < y.moved;
    };
  }

 public:
  explicit gdsf(const cubby_policy_config &config)
      : items_(config.object_count), heap_(config.object_count) {
    set_costs(config);
  }

  void used(cubby_object object) {
    heap_.end_round(order());
    newcomers_.settle();
    if (!heap_.holds(object)) return;
    ++items_[object].uses;
    rank(object);
    heap_.moved(object, order());
  }
  void inserted(cubby_object object, uint64_t bytes) {
    if (heap_.holds(object)) return;
    items_[object].uses = 1;
    items_[object].bytes = static_cast<double>(std::max<uint64_t>(bytes, 1));
    rank(object);
    newcomers_.came(object, 0);
    heap_.insert(object, order());
  }
  void removed(cubby_object object) {
    if (heap_.holds(object) && !newcomers_.take(object))
      clock_ = std::max(clock_, items_[object].rank);
    heap_.remove(object, order());
  }
  void begin_victims(const cubby_policy_need &) { heap_.end_round(order()); }
  cubby_object next_victim() {
    const cubby_object object = heap_.next(order());
    newcomers_.named(object);
    return object;
  }
  void grow(const cubby_policy_config &config) {
    heap_.grow(config.object_count);
    if (config.object_count > items_.size()) items_.resize(config.object_count);
    set_costs(config);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + heap_.bytes() + items_.capacity() * sizeof(item);
  }

 private:
  /// Sizes count in lockers of mean size, so that ranks are small whole numbers where all are
  /// alike.
  void set_costs(const cubby_policy_config &config) {
    double bytes = 0, lockers = 0;
    for (uint32_t b = 0; b < config.bank_count; ++b) {
      const cubby_policy_bank &bank = config.banks[b];
      const double count = static_cast<double>(bank.rows) * bank.columns;
      bytes += count * static_cast<double>(bank.object_bytes);
      lockers += count;
      const auto cost = static_cast<float>(std::max<uint64_t>(bank.refetch_ns, 1));
      for (uint32_t i = 0; i < bank.rows * bank.columns; ++i)
        items_[bank.first_object + i].cost = cost;
    }
    mean_bytes_ = bytes > 0 ? bytes / lockers : 1;
  }
  void rank(cubby_object object) {
    item &one = items_[object];
    one.rank = clock_ + one.uses * static_cast<double>(one.cost) * (mean_bytes_ / one.bytes);
    one.moved = ++count_;
  }
  std::vector<item> items_;
  victim_heap heap_;
  newcomers newcomers_;
  double clock_ = 0, mean_bytes_ = 1;
  uint64_t count_ = 0;
};

}  // namespace

const cubby_policy_ops &gdsf_ops() {
  static const cubby_policy_ops ops =
      policy_ops<gdsf>("gdsf", CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV);
  return ops;
}

}  // namespace cubby::placement
