// Tells the policies what is used and what is foreseen, and records it.
#pragma once

#include <memory>

#include "engine/access_events.hpp"
#include "engine/recorder.hpp"
#include "engine/residents.hpp"

namespace cubby::engine {

class policy_feed {
 public:
  policy_feed(engine_state &state, residents &copies)
      : state_(state), copies_(copies), shards_(pin_sets::shard_count) {}

  /// Any thread.
  [[nodiscard]] thread_shard &shard(uint32_t index) { return shards_[index]; }
  [[nodiscard]] uint32_t shard_count() const { return static_cast<uint32_t>(shards_.size()); }

  /// Tells the policies of all visits that are in the shards.
  void drain();
  /// A bank goes: no event of it is waited for any more.
  void forget_bank(const locker_bank &bank);
  /// Knowledge of the future, by a slot below sequences_max; false: of no use to any policy.
  bool hint(const cubby_policy_hint &what) { return state_.admission.hint(what); }

  /// Records visits from here on, with `made`; false while a recording runs. What was there before
  /// is in `made` then.
  bool start_recording(std::unique_ptr<recorder> &made);
  /// The recording, running or stopped, with all visits until now; nullptr when there is none.
  recorder *recording();

  [[nodiscard]] uint64_t visit_count() const { return visit_count_; }
  [[nodiscard]] uint64_t dropped_count() const;

 private:
  void drain(thread_shard &from);
  void visit(locker_bank &bank, uint32_t row, assembled_visit &seen);
  uint32_t visit_blocks(const locker_bank &bank, const placement::visit_place &place,
                        std::span<const cubby_object> used);
  void learn_routed_count(locker_bank &bank, const assembled_visit &seen);

  engine_state &state_;
  residents &copies_;
  std::vector<thread_shard> shards_;
  std::unique_ptr<recorder> recorder_;
  uint64_t drops_recorded_ = 0;  // of dropped_count()
  uint64_t visit_count_ = 0;
  std::vector<cubby_policy_access> uses_;  // of the visit at hand
};

}  // namespace cubby::engine
