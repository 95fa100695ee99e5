// The library's own policy for KV blocks: the least expected uses per second of residence leave,
// leaves of the prefix tree before what they hang on; with LRU as a hedge.
#include <algorithm>
#include <cubby/policy.hpp>

#include "placement/describe.hpp"
#include "placement/kv/blocks.hpp"
#include "placement/kv/chooser.hpp"
#include "placement/kv/hedge.hpp"
#include "placement/object_list.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

/// The leading run of a request whose blocks are accessed one by one from the first.
struct run_counter {
  double run = 0;
  bool open = true;
  void touch(bool hit) {
    open = open && hit;
    run += open ? 1 : 0;
  }
};

constexpr size_t oldest_proposed = 8;
constexpr size_t request_max = 65536;  // blocks of one request that the hedge looks at

class kv_policy {
 public:
  explicit kv_policy(const cubby_policy_config &config)
      : capacity_(capacity_of(config)),
        known_(config.object_count),
        real_(config.object_count),
        shadow_(config.object_count),
        recent_(2, config.object_count),
        real_chooser_(config.seed),
        shadow_chooser_(config.seed) {
    proposed_.reserve(kv::chooser::pool_max + 1);
    touched_.reserve(std::min<size_t>(request_max, config.object_count));
    named_.resize(config.object_count / 64 + 1);
  }

  void access(const cubby_policy_access &given) {
    cubby_policy_access access = given;
    // Engines that put and get block by block: what goes on where the last call ended is the same
    // request, or each block would be the least used leaf when the next one comes.
    const bool goes_on = access.parent != CUBBY_NO_OBJECT && access.parent == last_used_;
    if (access.number != call_ && !goes_on) end_request(access.number);
    call_ = access.number;
    access.number = request_;
    const cubby_object object = last_used_ = access.object;
    real_run_.touch(real_.holds(object));
    if (hedge_.lru_leads()) shadow_run_.touch(shadow_.holds(object));
    const cubby_object was_parent = known_.at(object).parent;
    if (was_parent != access.parent) move_parent(object, was_parent, access.parent);
    known_.used(access);
    if (touched_.size() < touched_.capacity()) touched_.push_back(object);
    if (hedge_.lru_leads()) touch_shadow(object, access.parent);
  }
  /// Objects of other banks: no prefix, no depth.
  void visit(const cubby_policy_visit &visit) {
    for (uint32_t i = 0; i < visit.used_count; ++i) {
      cubby_policy_access access = {};
      access.object = visit.used[i];
      access.parent = CUBBY_NO_OBJECT;
      access.number = visit.number;
      access.now_ns = visit.now_ns;
      this->access(access);
    }
  }
  void inserted(cubby_object object, uint64_t) { real_.insert(object, known_.at(object).parent); }
  void removed(cubby_object object) {
    if (!real_.holds(object)) return;
    const cubby_object parent = known_.at(object).parent;
    real_.remove(object, parent);
    if (recent_.list_of(object) == lru_gone) take_recent(object);
    if (parent != CUBBY_NO_OBJECT && real_.is_leaf(parent)) real_chooser_.left(parent);
  }
  void begin_victims(const cubby_policy_need &need) {
    known_.hold(need.incoming == CUBBY_NO_OBJECT ? need.incoming
                                                 : known_.at(need.incoming).parent);
    proposed_.clear();
    next_ = 0;
    pass_ = 0;
    from_pool_ = false;
    if (need.incoming != CUBBY_NO_OBJECT && !reachable(need.incoming)) {
      // It will hardly be admitted: any will do.
      if (!real_.leaves().empty()) proposed_.push_back(real_.leaves().back());
      return;
    }
    if (hedge_.lru_leads()) return propose_oldest();
    const cubby_object least = real_chooser_.choose(real_, known_);
    if (least != CUBBY_NO_OBJECT) proposed_.push_back(least);
    from_pool_ = true;
  }
  cubby_object next_victim() {
    if (from_pool_ && next_ == 1 && proposed_.size() == 1) propose_pool();
    while (next_ < proposed_.size()) {
      if (next_ > 0 && !hedge_.lru_leads()) least_to(next_);
      const cubby_object object = proposed_[next_++];
      const auto named = proposed_.begin() + static_cast<std::ptrdiff_t>(next_ - 1);
      if (std::find(proposed_.begin(), named, object) == named) return object;  // drawn once
    }
    return name_others();
  }
  bool admit(cubby_object incoming, cubby_object victim) {
    if (!reachable(incoming) || known_.in_use(victim)) return false;
    if (!hedge_.lru_leads() && !real_.is_leaf(victim)) return false;  // others hang on it
    return hedge_.lru_leads() || known_.index(incoming) >= known_.index(victim);
  }
  bool hint(const cubby_policy_hint &hint) {
    const bool taken = known_.hint(hint);
    if (taken) hedge_.trust_index();
    return taken;
  }
  void forget(cubby_object object) {
    drop_shadow(object);
    take_recent(object);
    known_.forget(object);
  }
  void grow(const cubby_policy_config &config) {
    capacity_ = capacity_of(config);
    known_.grow(config.object_count);
    real_.grow(config.object_count);
    shadow_.grow(config.object_count);
    recent_.grow(config.object_count);
    named_.resize(std::max(named_.size(), size_t{config.object_count} / 64 + 1));
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + known_.bytes() - sizeof known_ + real_.bytes() + shadow_.bytes() +
           recent_.bytes() + touched_.capacity() * sizeof(cubby_object) +
           named_.capacity() * sizeof(uint64_t);
  }
  void describe(cubby_policy_stats &out) const {
    out.fallback = hedge_.lru_leads() ? 1 : 0;
    out.fallback_count = hedge_.takeovers();
  }

 protected:
  void trust_index() { hedge_.trust_index(); }

 private:
  static constexpr uint8_t lru_shadow = 0, lru_gone = 1;

  /// Does it hang on a resident block, or on none?
  [[nodiscard]] bool reachable(cubby_object object) const {
    const cubby_object parent = known_.at(object).parent;
    return parent == CUBBY_NO_OBJECT || real_.holds(parent);
  }
  /// All candidates were passed over: the other leaves, then all that is left, with those of the
  /// request under way among them. Leaves from the last: one that leaves is replaced by the last.
  cubby_object name_others() {
    const auto &leaves = real_.leaves();
    if (pass_ == 0) {
      std::fill(named_.begin(), named_.end(), 0);
      for (const cubby_object object : proposed_) name(object);
      pass_ = 1;
      left_ = static_cast<uint32_t>(leaves.size());
    }
    if (pass_ == 1) {
      left_ = std::min(left_, static_cast<uint32_t>(leaves.size()));
      while (left_ > 0) {
        const cubby_object object = leaves[--left_];
        if (!known_.in_use(object) && name(object)) return object;
      }
      pass_ = 2;
      left_ = known_.count();
    }
    // On from where the last round ended: residents are few among many numbers.
    while (left_ > 0) {
      --left_;
      cursor_ = cursor_ + 1 < known_.count() ? cursor_ + 1 : 0;
      if (real_.holds(cursor_) && name(cursor_)) return cursor_;
    }
    return CUBBY_NO_OBJECT;
  }
  /// False: it was named in this round.
  bool name(cubby_object object) {
    const uint64_t bit = uint64_t{1} << object % 64;
    const bool before = (named_[object / 64] & bit) != 0;
    named_[object / 64] |= bit;
    return !before;
  }
  /// The first candidate will not do, which is rare: the others of the pool.
  void propose_pool() {
    proposed_.resize(1 + kv::chooser::pool_max);
    proposed_.resize(1 +
                     real_chooser_.others(real_, known_, proposed_.front(), proposed_.data() + 1));
  }
  /// Puts the least worth of the candidates from `at` on there.
  void least_to(size_t at) {
    size_t least = at;
    for (size_t i = at + 1; i < proposed_.size(); ++i)
      if (known_.index(proposed_[i]) < known_.index(proposed_[least])) least = i;
    std::swap(proposed_[at], proposed_[least]);
  }
  /// The real set follows LRU: objects outside LRU's shadow leave first, then the least recent.
  /// What the request under way has passed over is not looked at again before it ends.
  void propose_oldest() {
    for (const uint8_t list : {lru_gone, lru_shadow}) {
      cubby_object &at = oldest_[list];
      if (at == CUBBY_NO_OBJECT) at = recent_.oldest(list);
      while (at != CUBBY_NO_OBJECT && !may_leave(at) && recent_.newer(at) != CUBBY_NO_OBJECT)
        at = recent_.newer(at);
      for (cubby_object object = at; object != CUBBY_NO_OBJECT; object = recent_.newer(object)) {
        if (may_leave(object)) proposed_.push_back(object);
        if (proposed_.size() >= oldest_proposed) return;
        if (list == lru_shadow && !proposed_.empty()) return;
      }
    }
  }
  [[nodiscard]] bool may_leave(cubby_object object) const {
    return real_.holds(object) && !known_.in_use(object);
  }
  /// Out of LRU's lists; no walk stands on it any more.
  void take_recent(cubby_object object) {
    for (cubby_object &at : oldest_)
      if (at == object) at = recent_.newer(object);
    recent_.take(object);
  }
  void move_parent(cubby_object object, cubby_object from, cubby_object to) {
    for (kv::block_set *set : {&real_, &shadow_}) {
      if (!set->holds(object)) continue;
      set->remove(object, from);
      set->insert(object, to);
    }
  }
  /// What the index would do while LRU leads.
  void touch_shadow(cubby_object object, cubby_object parent) {
    if (shadow_.holds(object)) return;
    if (parent != CUBBY_NO_OBJECT && !shadow_.holds(parent)) return;
    while (shadow_size_ >= capacity_) {  // more than once where the budget has shrunk
      const cubby_object least = shadow_chooser_.choose(shadow_, known_);
      if (least == CUBBY_NO_OBJECT || known_.index(object) < known_.index(least)) return;
      drop_shadow(least);
    }
    shadow_.insert(object, parent);
    ++shadow_size_;
  }
  /// The request as LRU would have served it: the run it found, then its blocks from the last.
  double touch_lru() {
    run_counter lru;
    for (const cubby_object object : touched_) lru.touch(recent_.list_of(object) == lru_shadow);
    for (size_t i = touched_.size(); i-- > 0;) {
      const cubby_object object = touched_[i];
      while (recent_.list_of(object) != lru_shadow && recent_.size(lru_shadow) >= capacity_) {
        const cubby_object oldest = recent_.oldest(lru_shadow);
        recent_.take(oldest);
        if (real_.holds(oldest)) recent_.renew(lru_gone, oldest);
      }
      recent_.renew(lru_shadow, object);
    }
    return lru.run;
  }
  void drop_shadow(cubby_object object) {
    if (!shadow_.holds(object)) return;
    const cubby_object parent = known_.at(object).parent;
    shadow_.remove(object, parent);
    --shadow_size_;
    if (parent != CUBBY_NO_OBJECT && shadow_.is_leaf(parent)) shadow_chooser_.left(parent);
  }
  void end_request(uint64_t number) {
    request_ = number;
    oldest_[lru_shadow] = oldest_[lru_gone] = CUBBY_NO_OBJECT;
    kv::runs found;
    found.real = real_run_.run;
    found.index = hedge_.lru_leads() ? shadow_run_.run : real_run_.run;
    found.lru = touch_lru();
    if (hedge_.ended(found, static_cast<double>(touched_.size())) == kv::hedge::change::to_lru)
      copy_to_shadow();
    touched_.clear();
    real_run_ = shadow_run_ = {};
  }
  void copy_to_shadow() {
    shadow_ = real_;
    shadow_chooser_ = real_chooser_;
    shadow_size_ = shadow_.size();
  }

  uint32_t capacity_, shadow_size_ = 0;
  kv::blocks known_;
  kv::block_set real_, shadow_;
  cubby_object oldest_[2] = {CUBBY_NO_OBJECT, CUBBY_NO_OBJECT};  // of each list: walked up to
  object_lists recent_;  // what LRU would hold; what it would have given up and is still here
  kv::chooser real_chooser_, shadow_chooser_;
  std::vector<cubby_object> proposed_;
  std::vector<uint64_t> named_;  // a bit an object: in this round, once all candidates were
  size_t next_ = 0;
  uint32_t left_ = 0, pass_ = 0, cursor_ = 0;
  bool from_pool_ = false;
  std::vector<cubby_object> touched_;  // by the request under way
  run_counter real_run_, shadow_run_;
  uint64_t request_ = 0, call_ = 0;  // what its accesses count as / as the last one was numbered
  cubby_object last_used_ = CUBBY_NO_OBJECT;
  kv::hedge hedge_;
};

/// As a part of a tier that is divided: how much room it is worth follows from what the index would
/// do with it, so the index leads until it has failed.
class kv_part : public kv_policy {
 public:
  explicit kv_part(const cubby_policy_config &config) : kv_policy(config) { trust_index(); }
};

}  // namespace

const cubby_policy_ops &kv_part_ops() {
  static const cubby_policy_ops ops =
      policy_ops<kv_part>("kv", CUBBY_POLICY_KV | CUBBY_POLICY_HEAD_FIRST);
  return ops;
}

const cubby_policy_ops &kv_ops() {
  static const cubby_policy_ops ops =
      policy_ops<kv_policy>("kv", CUBBY_POLICY_KV | CUBBY_POLICY_HEAD_FIRST);
  return ops;
}

}  // namespace cubby::placement
