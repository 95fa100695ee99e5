// What can be said of the tables: statistics, estimates, sums.
#include <algorithm>

#include "table/controller.hpp"

namespace cubby::table {

uint64_t controller::pinned_bytes(uint32_t tier) const {
  const tier_slot &slot = *tiers_[tier];
  if (slot.memory == nullptr) return 0;
  // Sources of moves are pinned by the controller itself.
  std::vector<const locker_word *> sources;
  for (const move &m : moves_) {
    if (m.state == move_state::unused) continue;
    if (m.from == tier || m.beside == tier) sources.push_back(&m.where->word(tier, m.number));
  }
  uint64_t bytes = 0;
  for (const auto &locker : pinning_.pinned(tier, std::move(sources))) {
    bytes += slot.memory->cost_bytes(locker.bank->frame_bytes_in(tier, locker.number));
  }
  return bytes;
}

uint64_t controller::working_set_bytes(const bank &where, frame_layout layout) {
  uint64_t bytes = 0;
  for (uint32_t row = 0; row < where.rows(); ++row) {
    bytes += where.desc().routed_count * where.frame_bytes(layout, row * where.columns());
  }
  return bytes;
}

uint64_t controller::estimate_ns(const bank &where, uint32_t number, uint32_t tier) const {
  const locker_state here = where.word(tier, number).look().state;
  if (here == locker_state::ready) return 0;
  const uint64_t bytes = where.locker_bytes(number);
  for (uint32_t t = 0; t < tier_count(); ++t) {
    if (t == tier || tiers_[t]->memory == nullptr) continue;
    if (where.word(t, number).look().state != locker_state::ready) continue;
    return tiers_[tier]->path->estimate_ns(bytes);
  }
  if (!where.mapped()) return base::never_ns;
  const uint64_t read = tiers_[file_slot_]->path->estimate_ns(bytes);
  const bool direct = where.layout(tier) == frame_layout::skewed;
  const uint64_t copy = direct ? 0 : tiers_[tier]->path->estimate_ns(bytes);
  if (read == base::never_ns) return read;
  return copy == base::never_ns ? read : read + copy;
}

uint64_t controller::table_bytes() const {
  uint64_t bytes = pinning_.sets().table_bytes() + config_.tickets_max * sizeof(request);
  for (const bank *where : banks_.in_order()) bytes += where->table_bytes() + where->digest_bytes();
  return bytes;
}

uint64_t controller::table_bytes_of(const bank &where) const {
  const uint64_t digests = config_.verify ? where.digest_bytes_wanted() : 0;
  uint64_t words = 0;
  for (uint32_t i = 0; i < tier_count(); ++i) {
    if (tiers_[i]->memory != nullptr) words += where.tier_bytes();
  }
  return where.table_bytes() + std::max(digests, where.digest_bytes()) + words;
}

uint64_t controller::table_bytes_of_tier() const {
  uint64_t words = 0;
  for (const bank *where : banks_.in_order()) words += where->tier_bytes();
  return words;
}

void controller::report(cubby_stats_block &block, std::vector<cubby_tier_stats> &tiers) {
  for (shard &one : shards_) drain_visits(one);
  block = {};
  block.struct_size = sizeof block;
  block.tier_count = tier_count();
  for (const bank *where : banks_.in_order()) block.digest_bytes += where->digest_bytes();
  block.table_bytes = table_bytes() - block.digest_bytes;
  block.visit_count = visit_count_;
  block.unverified_bytes = unverified_bytes_;
  block.stall_read_ns = stall_read_ns_;
  block.stall_join_ns = stall_join_ns_;
  block.stall_frame_wait_ns = stall_frame_wait_ns_;
  block.stall_copy_ns = stall_copy_ns_;
  block.stall_handoff_ns = stall_handoff_ns_;
  block.visit_dropped_count = visits_dropped();
  for (uint32_t i = 0; i < tier_count(); ++i) {
    const tier_slot &slot = *tiers_[i];
    cubby_tier_stats stats = slot.stats;
    stats.struct_size = sizeof stats;
    stats.tier = slot.handle;
    if (slot.memory != nullptr) {
      stats.budget_bytes = slot.memory->budget_bytes();
      stats.used_bytes = slot.memory->used_bytes();
      stats.peak_bytes = slot.memory->peak_bytes();
      stats.pinned_bytes = pinned_bytes(i);
      stats.emulated = slot.memory->backend().info().emulated;
      for (const shard &one : shards_) {
        stats.hit_count += one.hits[i].load(std::memory_order_relaxed);
      }
      block.policy_bytes += slot.policy->state_bytes();
    }
    tiers.push_back(stats);
  }
}

}  // namespace cubby::table
