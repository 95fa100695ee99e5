// Policies that know the future, which only a replay can tell.
//
// belady: Belady, "A Study of Replacement Algorithms for a Virtual-Storage Computer", IBM Systems
// Journal 1966 (MIN): the victim is the object used again latest. With bypass: a newcomer that is
// used again later than every resident is rejected.
//
// lookahead-k knows the uses of the next k tokens (experts) or of the next 10·k requests (KV);
// what is used beyond them ranks by least recent use, behind all that is known.
#include <cubby/policy.hpp>

#include "placement/registry.hpp"
#include "placement/victim_heap.hpp"

namespace cubby::placement {
namespace {

struct item {
  uint64_t next = CUBBY_NEVER_USED;    // as far as it is known
  uint64_t last = 0;                   // count of uses when it was used last
  uint64_t secret = CUBBY_NEVER_USED;  // of the future beyond the horizon
};

struct least_wanted {
  const std::vector<item> &items;
  bool operator()(cubby_object a, cubby_object b) const {
    const item &x = items[a], &y = items[b];
    return x.next != y.next ? x.next > y.next : x.last < y.last;
  }
};

struct known_first {
  const std::vector<item> &items;
  bool operator()(cubby_object a, cubby_object b) const {
    return items[a].secret < items[b].secret;
  }
};

template <uint32_t tokens_ahead>  // 0 = all
class offline {
 public:
  explicit offline(const cubby_policy_config &config)
      : items_(config.object_count),
        heap_(config.object_count),
        waiting_(tokens_ahead == 0 ? 0 : config.object_count) {
    set_rows(config);
  }

  void visit(const cubby_policy_visit &visit) {
    go_on(visit.number, uint64_t{tokens_ahead} * rows_);
    for (uint32_t i = 0; i < visit.used_count; ++i)
      used(visit.used[i], visit.next_use == nullptr ? CUBBY_NEVER_USED : visit.next_use[i]);
  }
  void access(const cubby_policy_access &access) {
    go_on(access.number, uint64_t{tokens_ahead} * 10);
    used(access.object, access.next_use);
  }
  void inserted(cubby_object object, uint64_t) { heap_.insert(object, least_wanted{items_}); }
  void removed(cubby_object object) { heap_.remove(object, least_wanted{items_}); }
  void begin_victims(const cubby_policy_need &) { heap_.end_round(least_wanted{items_}); }
  cubby_object next_victim() { return heap_.next(least_wanted{items_}); }
  bool admit(cubby_object incoming, cubby_object victim) {
    return least_wanted{items_}(victim, incoming);
  }
  void grow(const cubby_policy_config &config) {
    heap_.grow(config.object_count);
    if (tokens_ahead != 0) waiting_.grow(config.object_count);
    if (config.object_count > items_.size()) items_.resize(config.object_count);
    set_rows(config);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + heap_.bytes() + waiting_.bytes() + items_.capacity() * sizeof(item);
  }

 private:
  void set_rows(const cubby_policy_config &config) {
    rows_ = 1;
    for (uint32_t i = 0; i < config.bank_count; ++i)
      rows_ = rows_ < config.banks[i].rows ? config.banks[i].rows : rows_;
  }
  /// What has come within the horizon is known from now on.
  void go_on(uint64_t now, uint64_t horizon) {
    heap_.end_round(least_wanted{items_});
    if constexpr (tokens_ahead != 0) {
      known_until_ = now + horizon;
      for (;;) {
        waiting_.end_round(known_first{items_});
        const cubby_object object = waiting_.next(known_first{items_});
        if (object == CUBBY_NO_OBJECT || items_[object].secret > known_until_) break;
        waiting_.remove(object, known_first{items_});
        items_[object].next = items_[object].secret;
        heap_.moved(object, least_wanted{items_});
      }
      waiting_.end_round(known_first{items_});
    }
  }
  void used(cubby_object object, uint64_t next) {
    const bool known = tokens_ahead == 0 || next <= known_until_;
    items_[object] = {known ? next : CUBBY_NEVER_USED, ++uses_, next};
    heap_.moved(object, least_wanted{items_});
    if constexpr (tokens_ahead != 0) {
      waiting_.remove(object, known_first{items_});
      if (!known && next != CUBBY_NEVER_USED) waiting_.insert(object, known_first{items_});
    }
  }

  std::vector<item> items_;
  victim_heap heap_, waiting_;  // residents; those whose next use is not known yet
  uint64_t uses_ = 0, known_until_ = 0;
  uint32_t rows_ = 1;
};

constexpr uint32_t offline_flags = CUBBY_POLICY_EXPERTS | CUBBY_POLICY_KV | CUBBY_POLICY_OFFLINE;

}  // namespace

const cubby_policy_ops &belady_ops() {
  static const cubby_policy_ops ops = policy_ops<offline<0>>("belady", offline_flags);
  return ops;
}
const cubby_policy_ops &lookahead1_ops() {
  static const cubby_policy_ops ops = policy_ops<offline<1>>("lookahead-1", offline_flags);
  return ops;
}
const cubby_policy_ops &lookahead2_ops() {
  static const cubby_policy_ops ops = policy_ops<offline<2>>("lookahead-2", offline_flags);
  return ops;
}
const cubby_policy_ops &lookahead4_ops() {
  static const cubby_policy_ops ops = policy_ops<offline<4>>("lookahead-4", offline_flags);
  return ops;
}
const cubby_policy_ops &lookahead8_ops() {
  static const cubby_policy_ops ops = policy_ops<offline<8>>("lookahead-8", offline_flags);
  return ops;
}

}  // namespace cubby::placement
