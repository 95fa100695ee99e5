#include "placement/admission/admission.hpp"

#include <algorithm>
#include <bit>

namespace cubby::placement {

void admission::set_object_count(uint32_t count) {
  object_count_before_ = object_count_;
  if (count <= object_count_) return;
  admitted_in_.resize(count);
  leaving_.resize(count);
  passed_in_round_.resize(count);
  for (tier_books &of : tiers_) {
    if (of.policy == nullptr) continue;
    of.lists.grow(count);
    of.on_probation_since.resize(count);
    of.unused.grow(count);
  }
  object_count_ = count;
}

void admission::restore_object_count() noexcept {
  const uint32_t count = object_count_before_;
  const auto shrink = [count](auto &table) {
    if (table.size() <= count) return;
    table.resize(count);
    table.shrink_to_fit();
  };
  shrink(admitted_in_);
  shrink(leaving_);
  shrink(passed_in_round_);
  for (tier_books &of : tiers_) {
    of.lists.shrink(count);
    shrink(of.on_probation_since);
    of.unused.shrink(count);
  }
  object_count_ = count;
}

/// Which tiers notify which policies of their objects.
void admission::connect_tiers() {
  for (tier_books &of : tiers_) of.watched = of.watchers = 0;
  for (uint32_t t = 0; t < tiers_max; ++t) {
    tier_books &of = tiers_[t];
    if (of.policy == nullptr) continue;
    for (uint32_t other = 0; other < tiers_max; ++other) {
      tier_books &nearer = tiers_[other];
      if (nearer.policy == nullptr) continue;
      if (t != other && !(of.exclusive && nearer.rank < of.rank)) continue;
      of.watched |= static_cast<uint8_t>(1U << other);
      nearer.watchers |= static_cast<uint8_t>(1U << t);
    }
  }
}

/// A tier whose policy chooses reserves room for what a batch may use in a layer, and in the next
/// where that is fetched ahead. One that goes on where a nearer tier ends needs it only where
/// callers pin in it.
void admission::measure_probation() {
  for (uint32_t t = 0; t < tiers_max; ++t) {
    tier_books &of = tiers_[t];
    of.probation_bytes = 0;
    if (of.policy == nullptr || !of.policy->chooses()) continue;
    if (of.watched != 1U << t && !of.had_probation) continue;
    for (const layer_demand &layer : of.view.layers) {
      const uint64_t used =
          std::min(uint64_t{layer.routed_count} * sequences_, uint64_t{layer.columns});
      const uint64_t bytes = (of.prefetches ? 2 : 1) * used * layer.largest_cost_bytes;
      of.probation_bytes = std::max(of.probation_bytes, bytes);
    }
    of.probation_bytes = std::min(of.probation_bytes, of.view.budget_bytes / probation_share_max);
  }
}

policy_config admission::config_of(uint32_t tier) const {
  const tier_books &of = tiers_[tier];
  uint64_t budget_bytes = 0;
  for (uint32_t t = 0; t < tiers_max; ++t)
    if (shares_policy_with(tier, t)) budget_bytes += tiers_[t].admitted_budget_bytes();
  return {object_count_, seed_, budget_bytes, sequences_, of.view.banks, of.view.demotes};
}

bool admission::reconfigure_policies() {
  measure_probation();
  bool all = true;
  for (uint32_t t = 0; t < tiers_max; ++t)
    if (tiers_[t].policy != nullptr) all = tiers_[t].policy->grow(config_of(t)) && all;
  return all;
}

/// In powers of two, for policies may have to learn anew.
void admission::expect_sequences(uint32_t count) {
  if (count <= sequences_) return;
  const uint32_t before = sequences_;
  sequences_ = std::bit_ceil(count);
  if (reconfigure_policies()) return;
  sequences_ = before;
  measure_probation();
}

void admission::expect_prefetches(uint32_t tier) {
  tier_books &of = tiers_[tier];
  if (of.prefetches) return;
  of.prefetches = true;
  if (reconfigure_policies()) return;
  of.prefetches = false;
  measure_probation();
}

void admission::forget(cubby_object object) {
  for (tier_books &of : tiers_)
    if (of.policy != nullptr) of.policy->forget(object);
}

/// The object is not unused any more, if it was.
void admission::take_unused(tier_books &of, cubby_object object, uint64_t &count_bytes) {
  if (!of.unused.holds(object)) return;
  count_bytes += of.unused.take(object);
  if (of.lists.list_of(object) == tier_books::probation) --of.unused_on_probation;
}

void admission::note_prefetched(uint32_t tier, cubby_object object, uint64_t bytes) {
  tier_books &of = tiers_[tier];
  if (of.unused.holds(object)) return;
  uint64_t not_counted = 0;
  if (of.unused.full()) take_unused(of, of.unused.oldest(), not_counted);
  of.unused.add(object, bytes);
  if (of.is_on_probation(object)) ++of.unused_on_probation;
}

uint8_t admission::visit(const visit_place &place, std::span<const cubby_object> used,
                         std::span<const cubby_policy_route> routes,
                         std::span<cubby_policy_access> accesses, bool goes_on) {
  for (tier_books &of : tiers_) {
    if (of.policy == nullptr) continue;
    if (accesses.empty()) {
      of.policy->visit(used, place, routes);
    } else {
      of.policy->visit_blocks(used, accesses, place, goes_on);
    }
  }
  return first_uses(used);
}

/// The tiers, a bit each, in which a prefetched object on probation had its first use.
uint8_t admission::first_uses(std::span<const cubby_object> used) {
  uint8_t awaited = 0;
  for (uint32_t t = 0; t < tiers_max; ++t) {
    tier_books &of = tiers_[t];
    if (of.policy == nullptr || of.unused.empty()) continue;
    for (const cubby_object object : used) {
      if (!of.unused.holds(object)) continue;
      if (tiers_[t].is_on_probation(object)) awaited |= static_cast<uint8_t>(1U << t);
      take_unused(of, object, of.prefetch_used_bytes);
    }
  }
  return awaited;
}

bool admission::hint(const cubby_policy_hint &what) {
  expect_sequences(what.slot + 1);
  bool taken = false;
  for (tier_books &of : tiers_)
    if (of.policy != nullptr) taken = of.policy->hint(what) || taken;
  return taken;
}

/// Of a tier without a policy: whichever tracked object comes next by number, each once a round.
cubby_object admission::next_round_robin(uint32_t tier, uint32_t &looked) {
  tier_books &of = tiers_[tier];
  while (looked++ < object_count_) {
    of.round_robin_at = (of.round_robin_at + 1) % object_count_;
    if (is_tracked(tier, of.round_robin_at)) return of.round_robin_at;
  }
  return no_object;
}

void admission::restart_rounds() {
  std::fill(passed_in_round_.begin(), passed_in_round_.end(), 0U);
  round_ = 1;
}

cubby_object admission::break_rule(cubby_object object, const char *what) {
  broken_ = "next_victim() named object " + std::to_string(object) + what;
  return no_object;
}

cubby_object admission::break_round(uint32_t tier, uint32_t passed_over) {
  broken_ = "next_victim() ended a round after " + std::to_string(passed_over) + " of " +
            std::to_string(tiers_[tier].tracked_count) + " residents";
  for (cubby_object object = 0; object < object_count_; ++object) {
    if (!is_tracked(tier, object) || passed_in_round_[object] == round_) continue;
    broken_ += ", without naming object " + std::to_string(object);
    break;
  }
  return no_object;
}

}  // namespace cubby::placement
