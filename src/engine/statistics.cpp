#include "engine/statistics.hpp"

#include <algorithm>

#include "engine/chunk_run.hpp"

namespace cubby::engine {

namespace {

/// The numbers of cubby_tier_stats.health.
uint32_t health_of(const tier_slot &slot, const disk_store *store) {
  if (slot.failed_reads.bypassed()) return 3;
  if (store != nullptr && store->content().failure() != nullptr) return 2;
  return slot.failed_reads.degraded() ? 1 : 0;
}

}  // namespace

uint64_t statistics::working_set_bytes(const locker_bank &bank, frame_layout layout) {
  uint64_t bytes = 0;
  for (uint32_t row = 0; row < bank.grid().rows(); ++row) {
    bytes += bank.desc().routed_count * bank.frame_bytes(layout, row * bank.grid().columns());
  }
  return bytes;
}

uint64_t statistics::estimate_ns(const locker_bank &bank, uint32_t number, uint32_t tier) const {
  if (bank.word(tier, number).look().state == locker_state::ready) return 0;
  if (!may_ever_hold(state_.tiers, bank, number, tier)) return base::never_ns;
  const uint64_t bytes = bank.locker_bytes(number);
  for (uint32_t t = 0; t < state_.tiers.count(); ++t) {
    if (t == tier || !state_.tiers.is_memory(t)) continue;
    if (bank.word(t, number).look().state != locker_state::ready) continue;
    return state_.tiers[tier].path->estimate_ns(bytes);
  }
  const bool stored = bank.blocks != nullptr && bank.blocks->is_stored(number);
  if (!bank.mapped() && !stored) return base::never_ns;
  const uint64_t arrival = state_.tiers[tier].arrivals.estimate_ns(bytes);
  if (arrival != base::never_ns) return arrival;
  const uint64_t read = state_.tiers[bank.file_tier].path->estimate_ns(bytes);
  const bool direct = reads_in_place(state_.tiers, bank, tier);
  const uint64_t copy = direct ? 0 : state_.tiers[tier].path->estimate_ns(bytes);
  if (read == base::never_ns) return read;
  return copy == base::never_ns ? read : read + copy;
}

uint64_t statistics::table_bytes() const {
  uint64_t bytes = state_.pins.sets().table_bytes() + requests_.table_bytes();
  for (const locker_bank *bank : state_.banks.in_order()) {
    bytes += bank->table_bytes() + bank->digest_bytes();
  }
  for (const auto &table : state_.slots.all()) bytes += table->table_bytes();
  return bytes;
}

uint64_t statistics::table_bytes_of(const locker_bank &bank) const {
  const uint64_t digests = state_.config.verify ? catalog::digest_table::bytes_for(bank.grid()) : 0;
  uint64_t words = 0;
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    if (state_.tiers.is_memory(i)) words += bank.tier_bytes();
  }
  return bank.table_bytes() + std::max(digests, bank.digest_bytes()) + words;
}

uint64_t statistics::table_bytes_of_tier() const {
  uint64_t words = 0;
  for (const locker_bank *bank : state_.banks.in_order()) words += bank->tier_bytes();
  return words;
}

uint64_t statistics::pinned_bytes(uint32_t tier) const {
  const tier_slot &slot = state_.tiers[tier];
  if (slot.memory == nullptr) return 0;
  uint64_t bytes = 0;
  std::vector<const locker_word *> held = fills_.held_words(tier);
  state_.releases.step();
  state_.releases.add_words(tier, held);
  for (const auto &locker : state_.pins.pinned(tier, std::move(held))) {
    bytes += slot.memory->cost_bytes(locker.bank->frame_bytes_in(tier, locker.number));
  }
  return bytes;
}

cubby_tier_stats statistics::tier_stats(uint32_t tier) const {
  const tier_slot &slot = state_.tiers[tier];
  cubby_tier_stats stats = slot.stats;
  stats.struct_size = sizeof stats;
  stats.tier = slot.handle;
  if (slot.memory == nullptr) {
    const disk_store *store = stored_.store_of(tier);
    stats.health = health_of(slot, store);
    if (store != nullptr) {
      const store::store_statistics seen = store->content().statistics();
      stats.budget_bytes = seen.data_bytes;
      stats.used_bytes = seen.data_bytes - seen.free_bytes;
    }
    return stats;
  }
  stats.budget_bytes = slot.memory->budget_bytes();
  stats.used_bytes = slot.memory->used_bytes();
  stats.peak_bytes = slot.memory->peak_bytes();
  stats.pinned_bytes = pinned_bytes(tier);
  const placement::tier_books &books = state_.admission.books(tier);
  stats.prefetch_used_bytes = books.prefetch_used_bytes;
  stats.prefetch_wasted_bytes = books.prefetch_wasted_bytes;
  stats.emulated = slot.memory->backend().info().emulated;
  if (slot.lost.load(std::memory_order_relaxed)) stats.health = 3;
  for (uint32_t i = 0; i < feed_.shard_count(); ++i) {
    stats.hit_count += feed_.shard(i).hits[tier].load(std::memory_order_relaxed);
  }
  return stats;
}

void statistics::report(cubby_stats_block &block, std::vector<cubby_tier_stats> &tiers) {
  feed_.drain();
  block = {};
  block.struct_size = sizeof block;
  block.tier_count = state_.tiers.count();
  for (const locker_bank *bank : state_.banks.in_order()) {
    block.digest_bytes += bank->digest_bytes();
  }
  block.table_bytes = table_bytes() - block.digest_bytes;
  block.visit_count = feed_.visit_count();
  block.visit_dropped_count = feed_.dropped_count();
  block.unverified_bytes = io_.unverified_bytes();
  const stall_times &stalls = open_.stalls();
  block.stall_read_ns = stalls.read_ns;
  block.stall_join_ns = stalls.join_ns;
  block.stall_frame_wait_ns = stalls.frame_wait_ns;
  block.stall_copy_ns = stalls.copy_ns;
  block.stall_handoff_ns = stalls.handoff_ns;
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    tiers.push_back(tier_stats(i));
    if (!state_.tiers.is_memory(i)) continue;
    block.policy_bytes += state_.admission.books(i).policy->state_bytes();
  }
}

}  // namespace cubby::engine
