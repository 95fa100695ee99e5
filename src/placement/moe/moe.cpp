// The library's own policy for experts: the learned index, with bypass, and with LRU as a net under
// it. What is not of a bank of experts leaves first, the least recently used before the others.
#include <algorithm>
#include <cstdio>
#include <cubby/policy.hpp>

#include "placement/describe.hpp"
#include "placement/moe/net.hpp"
#include "placement/object_list.hpp"
#include "placement/registry.hpp"

namespace cubby::placement {
namespace {

class moe_policy {
 public:
  explicit moe_policy(const cubby_policy_config &config)
      : index_(config),
        real_(index_),
        recent_(2, config.object_count),
        net_(index_, config.object_count, capacity_of(config)) {
    describe_budget(config);
    set_places(config.object_count);
  }

  void visit(const cubby_policy_visit &visit) {
    end_round();
    uint32_t layer = 0;
    const bool ours = index_.visit(visit, layer);
    for (uint32_t i = 0; i < visit.used_count; ++i) touch(visit.used[i]);
    if (!ours) return;
    real_.changed(layer);
    if (index_.rebased()) {
      real_.all_changed();
      net_.all_changed();
    }
    net_.visit(index_, visit, layer, places_, real_);
  }
  void access(const cubby_policy_access &access) {
    end_round();
    touch(access.object);
  }
  void inserted(cubby_object who, uint64_t) {
    end_round();
    const place at = places_[who];
    if (at.layer == nowhere) {
      recent_.renew(others, who);
      return;
    }
    recent_.renew(experts, who);
    real_.insert(at.lane, at.layer);
  }
  void removed(cubby_object who) {
    walk_.leaving(recent_, who);
    recent_.take(who);
    const place at = places_[who];
    if (at.layer != nowhere) real_.remove(at.lane, at.layer);
  }
  void begin_victims(const cubby_policy_need &) {
    end_round();
    in_round_ = true;
    walking_ = others;
    walk_.begin(recent_, others);
  }
  cubby_object next_victim() {
    if (const cubby_object who = walk_.next(recent_); who != CUBBY_NO_OBJECT) return who;
    if (net_.in_charge()) {
      if (walking_ == experts) return CUBBY_NO_OBJECT;
      walking_ = experts;
      walk_.begin(recent_, experts);
      return walk_.next(recent_);
    }
    const ranking::top top = real_.largest(index_);
    if (top.key == ranking::absent) return CUBBY_NO_OBJECT;
    real_.hide(top.lane, top.layer);
    return objects_[top.lane];
  }
  bool admit(cubby_object incoming, cubby_object victim) {
    const place in = places_[incoming], out = places_[victim];
    if (net_.in_charge() || in.layer == nowhere || out.layer == nowhere) return true;
    return key_of(in) < key_of(out);
  }
  void grow(const cubby_policy_config &config) {
    if (index_.fits(config) && config.object_count == places_.size()) {
      index_.set_capacity(capacity_of(config));
      net_.set_capacity(capacity_of(config));
      describe_budget(config);
      return;
    }
    // Of another shape: learning begins anew; what is resident stays known.
    moe_policy made(config);
    for (const uint8_t list : {others, experts})
      for (cubby_object who = recent_.oldest(list); who != CUBBY_NO_OBJECT;
           who = recent_.newer(who))
        made.inserted(who, 0);
    *this = std::move(made);
  }
  [[nodiscard]] uint64_t state_bytes() const {
    return sizeof *this + index_.state_bytes() - sizeof index_ + real_.bytes() + recent_.bytes() +
           net_.bytes() + places_.capacity() * sizeof(place) +
           objects_.capacity() * sizeof(cubby_object);
  }
  void describe(cubby_policy_stats &out) const {
    out.fallback = net_.in_charge() ? 1 : 0;
    out.fallback_count = net_.takeovers();
    std::copy(std::begin(warning_), std::end(warning_), out.warning);
  }

 private:
  using index = moe::index;
  using ranking = moe::ranking;
  using place = moe::place;
  static constexpr uint32_t nowhere = moe::place::nowhere;
  static constexpr uint8_t experts = 0, others = 1;

  void touch(cubby_object who) {
    if (recent_.where(who) != object_lists::nowhere) recent_.renew(recent_.where(who), who);
  }
  void end_round() {
    if (!in_round_) return;
    real_.show_all();
    in_round_ = false;
  }
  [[nodiscard]] float key_of(const place &at) const {
    return index_.keys(at.layer)[at.lane - index_.layer(at.layer).at];
  }
  void set_places(uint32_t object_count) {
    places_.resize(object_count);
    objects_.resize(index_.lane_count(), CUBBY_NO_OBJECT);
    for (uint32_t l = 0; l < index_.layer_count(); ++l) {
      const moe::layer_shape &shape = index_.layer(l);
      for (uint32_t e = 0; e < shape.experts; ++e) {
        places_[shape.first + e] = {shape.at + e, l};
        objects_[shape.at + e] = shape.first + e;
      }
    }
  }
  void describe_budget(const cubby_policy_config &config) {
    const uint32_t capacity = capacity_of(config);
    warning_[0] = 0;
    if (index_.working_set() == 0 || capacity >= index_.working_set()) return;
    snprintf(warning_, sizeof warning_,
             "the budget holds %u experts, one token uses %llu: recency is worth nothing here",
             capacity, static_cast<unsigned long long>(index_.working_set()));
  }

  index index_;
  ranking real_;
  object_lists recent_;  // residents by use
  list_walk walk_;
  moe::net net_;
  std::vector<place> places_;
  std::vector<cubby_object> objects_;  // by lane
  uint8_t walking_ = others;
  bool in_round_ = false;
  char warning_[sizeof cubby_policy_stats::warning] = {};
};

}  // namespace

const cubby_policy_ops &moe_ops() {
  static const cubby_policy_ops ops = policy_ops<moe_policy>("moe", CUBBY_POLICY_EXPERTS);
  return ops;
}

}  // namespace cubby::placement
