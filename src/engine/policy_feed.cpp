#include "engine/policy_feed.hpp"

#include <algorithm>
#include <bit>

namespace cubby::engine {

void policy_feed::drain() {
  for (thread_shard &from : shards_) {
    if (from.events.looks_empty()) continue;
    assemble_visits(
        from, state_.banks,
        [&](locker_bank &bank, uint32_t row, assembled_visit &seen) { visit(bank, row, seen); });
  }
}

void policy_feed::forget_bank(const locker_bank &bank) {
  for (thread_shard &one : shards_) {
    if (one.bank != &bank) continue;
    one.visit.clear();
    one.last = event_follows::another_visit;
    one.bank = nullptr;
    one.row = 0;
  }
}

/// A batch may come to have more sequences than before; policies learn of it in powers of two, for
/// they may have to learn anew.
void policy_feed::grow_sequences(uint32_t count) {
  if (count <= copies_.sequence_count) return;
  const uint32_t before = copies_.sequence_count;
  copies_.sequence_count = std::bit_ceil(count);
  if (!copies_.reconfigure_policies()) copies_.sequence_count = before;
}

void policy_feed::expect_prefetches(uint32_t tier) {
  tier_admission &here = state_.tiers[tier].admission;
  if (here.fetched_ahead) return;
  here.fetched_ahead = true;
  if (!copies_.reconfigure_policies()) here.fetched_ahead = false;
}

/// How many of a row a sequence uses is learned where nobody has said it.
void policy_feed::learn_routed_count(locker_bank &bank, const assembled_visit &seen) {
  if (bank.desc().routed_count != 0 || bank.desc().kind != CUBBY_BANK_EXPERTS) return;
  const uint32_t before = bank.routed_seen;
  for (const cubby_policy_route &route : seen.routes)
    bank.routed_seen = std::max(bank.routed_seen, route.count);
  if (bank.routed_seen != before && !copies_.reconfigure_policies()) bank.routed_seen = before;
}

void policy_feed::visit(locker_bank &bank, uint32_t row, assembled_visit &seen) {
  ++visit_count_;
  seen.finish();
  learn_routed_count(bank, seen);
  for (cubby_policy_route &route : seen.routes) {
    if (recorder_ != nullptr) {
      recorder_->visit(bank, row, route.slot, {route.objects, route.count});
    }
    route.slot = std::min(route.slot, sequences_max - 1);
    grow_sequences(route.slot + 1);
  }
  const auto &banks = state_.banks.by_object();
  const auto at = std::find(banks.begin(), banks.end(), &bank);
  const placement::visit_place place = {static_cast<uint32_t>(at - banks.begin()), row,
                                        state_.now_ns};
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    tier_slot &slot = state_.tiers[i];
    if (slot.admission.policy == nullptr) continue;
    slot.admission.policy->visit(seen.used, place, seen.routes);
    count_first_uses(slot, seen.used);
  }
}

void policy_feed::count_first_uses(tier_slot &slot, const std::vector<placement::object> &used) {
  tier_admission &here = slot.admission;
  if (here.prefetched.empty()) return;
  const size_t first_uses = std::erase_if(here.prefetched, [&](const unused_prefetch &one) {
    const bool is_used = std::find(used.begin(), used.end(), one.object) != used.end();
    if (is_used) slot.stats.prefetch_used_bytes += one.bytes;
    return is_used;
  });
  if (first_uses == 0 || here.on_probation.empty()) return;
  here.has_probation.store(true, std::memory_order_seq_cst);
  state_.note_frames();
}

bool policy_feed::hint(const cubby_policy_hint &what) {
  grow_sequences(what.slot + 1);
  bool taken = false;
  for (uint32_t i = 0; i < state_.tiers.count(); ++i) {
    const auto &policy = state_.tiers[i].admission.policy;
    if (policy != nullptr) taken = policy->hint(what) || taken;
  }
  return taken;
}

bool policy_feed::start_recording(std::unique_ptr<recorder> &made) {
  if (recorder_ != nullptr && recorder_->running()) return false;
  drain();  // those were before
  recorder_.swap(made);
  drops_recorded_ = dropped_count();
  return true;
}

recorder *policy_feed::recording() {
  if (recorder_ == nullptr || !recorder_->running()) return recorder_.get();
  drain();
  const uint64_t dropped = dropped_count();
  if (dropped != drops_recorded_) recorder_->lose(dropped - drops_recorded_);
  drops_recorded_ = dropped;
  return recorder_.get();
}

uint64_t policy_feed::dropped_count() const {
  uint64_t dropped = 0;
  for (const thread_shard &one : shards_) {
    dropped += one.dropped_count.load(std::memory_order_relaxed);
  }
  return dropped;
}

}  // namespace cubby::engine
