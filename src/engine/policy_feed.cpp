#include "engine/policy_feed.hpp"

#include <algorithm>

#include "engine/block_uses.hpp"

namespace cubby::engine {

void policy_feed::drain() {
  for (thread_shard &from : shards_) {
    if (!from.events.looks_empty()) drain(from);
  }
}

void policy_feed::drain(thread_shard &from) {
  assemble_visits(from, state_.banks, [&](locker_bank &bank, uint32_t row, assembled_visit &seen) {
    visit(bank, row, seen);
  });
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
    state_.admission.expect_sequences(route.slot + 1);
  }
  const placement::visit_place place = place_for_policies(state_, bank, row);
  const uint32_t awaited = bank.blocks == nullptr
                               ? state_.admission.visit(place, seen.used, seen.routes)
                               : visit_blocks(bank, place, seen.chosen);
  if (awaited == 0) return;
  for (uint32_t tier = 0; tier < state_.tiers.count(); ++tier) {
    if ((awaited >> tier & 1) != 0) state_.pins.watch(tier).decisions_wanted.store(true);
  }
  state_.pins.note_frames();
}

uint32_t policy_feed::visit_blocks(const locker_bank &bank, const placement::visit_place &place,
                                   std::span<const cubby_object> used) {
  uses_.clear();
  for (const cubby_object object : used) {
    uses_.push_back(block_use(bank, object, uses_.empty() ? nullptr : &uses_.back()));
    uses_.back().now_ns = place.now_ns;
  }
  uses_.back().last = 1;
  return state_.admission.visit(place, used, {}, uses_);
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
