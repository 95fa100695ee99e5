// The library's own policy for KV blocks: the least expected uses per second of residence leave,
// leaves of the prefix tree before what they hang on; with LRU as a hedge.
#include <algorithm>
#include <cubby/policy.hpp>

#include "placement/describe.hpp"
#include "placement/kv/blocks.hpp"
#include "placement/kv/chooser.hpp"
#include "placement/kv/hedge.hpp"
#include "placement/kv/lru_twin.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

/// The leading run of a request that is told block by block from the first.
struct run_counter {
  double run = 0;
  bool open = true;
  void touch(bool hit) {
    open = open && hit;
    run += open ? 1 : 0;
  }
};

constexpr size_t request_max = 65536;  // blocks of one request that the hedge looks at

class kv_policy {
 public:
  explicit kv_policy(const cubby_policy_config &config)
      : capacity_(capacity_of(config)),
        known_(config.object_count),
        real_(config.object_count),
        shadow_(config.object_count),
        twin_(config.object_count, config.seed),
        real_chooser_(config.seed),
        shadow_chooser_(config.seed) {
    proposed_.reserve(kv::chooser::pool_max + 1);
    touched_.reserve(std::min<size_t>(request_max, config.object_count));
    named_.resize(config.object_count / 64 + 1);
  }

  void access(const cubby_policy_access &access) {
    if (access.number != request_) end_request(access.number);
    const cubby_object who = access.object;
    real_run_.touch(real_.holds(who));
    if (hedge_.lru_leads()) shadow_run_.touch(shadow_.holds(who));
    const cubby_object was_parent = known_.at(who).parent;
    if (was_parent != access.parent) move_parent(who, was_parent, access.parent);
    known_.used(access);
    lru_run_.touch(twin_.used(who, known_, held(), capacity_));
    if (touched_.size() < touched_.capacity()) touched_.push_back(who);
    if (hedge_.lru_leads()) touch_shadow(who, access.parent);
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
  void inserted(cubby_object who, uint64_t) {
    if (real_.holds(who)) return;
    const cubby_object parent = known_.at(who).parent;
    real_.insert(who, parent);
    twin_.inserted(who, parent);
  }
  void removed(cubby_object who) {
    if (!real_.holds(who)) return;
    const cubby_object parent = known_.at(who).parent;
    real_.remove(who, parent);
    twin_.removed(who, parent);
    if (parent != CUBBY_NO_OBJECT && real_.is_leaf(parent)) real_chooser_.left(parent);
  }
  void begin_victims(const cubby_policy_need &need) {
    proposed_.clear();
    next_ = 0;
    pass_ = 0;
    from_pool_ = false;
    if (need.incoming != CUBBY_NO_OBJECT && !reachable(need.incoming)) {
      // It will hardly be kept: any will do.
      if (!real_.leaves().empty()) proposed_.push_back(real_.leaves().back());
      return;
    }
    lru_decides_ = hedge_.lru_leads() || twin_.at_stake() > hedge_.may_lose();
    if (lru_decides_) return propose_for_lru();
    const cubby_object least = real_chooser_.choose(real_, known_);
    if (least != CUBBY_NO_OBJECT) proposed_.push_back(least);
    from_pool_ = true;
  }
  cubby_object next_victim() {
    if (from_pool_ && next_ == 1 && proposed_.size() == 1) propose_pool();
    while (next_ < proposed_.size()) {
      if (next_ > 0 && !lru_decides_) least_to(next_);
      const cubby_object who = proposed_[next_++];
      const auto named = proposed_.begin() + static_cast<std::ptrdiff_t>(next_ - 1);
      if (std::find(proposed_.begin(), named, who) == named) return who;  // drawn once
    }
    return name_others();
  }
  bool admit(cubby_object incoming, cubby_object victim) {
    if (!reachable(incoming) || known_.in_use(victim)) return false;
    if (!lru_decides_ && !real_.is_leaf(victim)) return false;  // others hang on it
    return lru_decides_ || known_.index(incoming) >= known_.index(victim);
  }
  bool hint(const cubby_policy_hint &hint) {
    const bool taken = known_.hint(hint);
    if (taken) hedge_.trust_index();
    return taken;
  }
  void forget(cubby_object who) {
    drop_shadow(who);
    twin_.forget(who);
    known_.forget(who);
  }
  void grow(const cubby_policy_config &config) {
    capacity_ = capacity_of(config);
    known_.grow(config.object_count);
    real_.grow(config.object_count);
    shadow_.grow(config.object_count);
    twin_.grow(config.object_count);
    named_.resize(std::max(named_.size(), size_t{config.object_count} / 64 + 1));
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + known_.bytes() - sizeof known_ + real_.bytes() + shadow_.bytes() +
           twin_.bytes() + touched_.capacity() * sizeof(cubby_object) +
           named_.capacity() * sizeof(uint64_t);
  }
  void describe(cubby_policy_stats &out) const {
    out.fallback = hedge_.lru_leads() ? 1 : 0;
    out.fallback_count = hedge_.takeovers();
  }

 protected:
  void trust_index() { hedge_.trust_index(); }

 private:
  /// Does it hang on a resident block, or on none?
  [[nodiscard]] bool reachable(cubby_object who) const {
    const cubby_object parent = known_.at(who).parent;
    return parent == CUBBY_NO_OBJECT || real_.holds(parent);
  }
  /// All candidates were passed over: the other leaves, then whoever is left, with those of the
  /// request under way among them. Leaves from the last: one that leaves is replaced by the last.
  cubby_object name_others() {
    const auto &leaves = real_.leaves();
    if (pass_ == 0) {
      std::fill(named_.begin(), named_.end(), 0);
      for (const cubby_object who : proposed_) name(who);
      pass_ = 1;
      left_ = static_cast<uint32_t>(leaves.size());
    }
    if (pass_ == 1) {
      left_ = std::min(left_, static_cast<uint32_t>(leaves.size()));
      while (left_ > 0) {
        const cubby_object who = leaves[--left_];
        if (!known_.in_use(who) && name(who)) return who;
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
  bool name(cubby_object who) {
    const uint64_t bit = uint64_t{1} << who % 64;
    const bool before = (named_[who / 64] & bit) != 0;
    named_[who / 64] |= bit;
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
  /// The real set follows LRU: who is not in its twin leaves first, then the least recent.
  void propose_for_lru() {
    for (const cubby_object who : {twin_.spare(known_), twin_.oldest(known_, real_)})
      if (who != CUBBY_NO_OBJECT) proposed_.push_back(who);
  }
  [[nodiscard]] kv::lru_twin::held held() const {
    return {real_, hedge_.lru_leads() ? shadow_ : real_};
  }
  void move_parent(cubby_object who, cubby_object from, cubby_object to) {
    real_.move(who, from, to);
    shadow_.move(who, from, to);
    twin_.moved(who, from, to);
  }
  /// What the index would do while LRU leads.
  void touch_shadow(cubby_object who, cubby_object parent) {
    if (shadow_.holds(who)) return;
    if (parent != CUBBY_NO_OBJECT && !shadow_.holds(parent)) return;
    if (shadow_size_ >= capacity_) {
      const cubby_object least = shadow_chooser_.choose(shadow_, known_);
      if (least == CUBBY_NO_OBJECT || known_.index(who) < known_.index(least)) return;
      drop_shadow(least);
    }
    shadow_.insert(who, parent);
    ++shadow_size_;
  }
  void drop_shadow(cubby_object who) {
    if (!shadow_.holds(who)) return;
    const cubby_object parent = known_.at(who).parent;
    shadow_.remove(who, parent);
    --shadow_size_;
    if (parent != CUBBY_NO_OBJECT && shadow_.is_leaf(parent)) shadow_chooser_.left(parent);
  }
  void end_request(uint64_t number) {
    request_ = number;
    kv::runs found;
    found.real = real_run_.run;
    found.index = hedge_.lru_leads() ? shadow_run_.run : real_run_.run;
    found.lru = lru_run_.run;
    twin_.request_ended(touched_, held());
    if (hedge_.ended(found, static_cast<double>(touched_.size())) == kv::hedge::change::to_lru)
      copy_to_shadow();
    touched_.clear();
    real_run_ = shadow_run_ = lru_run_ = {};
  }
  void copy_to_shadow() {
    shadow_ = real_;
    shadow_chooser_ = real_chooser_;
    shadow_size_ = shadow_.size();
  }

  uint32_t capacity_, shadow_size_ = 0;
  kv::blocks known_;
  kv::block_set real_, shadow_;
  kv::lru_twin twin_;
  kv::chooser real_chooser_, shadow_chooser_;
  std::vector<cubby_object> proposed_;
  std::vector<uint64_t> named_;  // a bit an object: in this round, once all candidates were
  size_t next_ = 0;
  uint32_t left_ = 0, pass_ = 0, cursor_ = 0;
  bool from_pool_ = false, lru_decides_ = true;
  std::vector<cubby_object> touched_;  // by the request under way
  run_counter real_run_, shadow_run_, lru_run_;
  uint64_t request_ = 0;
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
