// What can be said of the tables: counters, estimates, sums.
#pragma once

#include <vector>

#include "engine/fill_io.hpp"
#include "engine/open_requests.hpp"
#include "engine/policy_feed.hpp"

namespace cubby::engine {

class statistics {
 public:
  statistics(engine_state &state, fill_table &fills, request_table &requests, open_requests &open,
             policy_feed &feed, fill_io &io, const stored_blocks &stored)
      : state_(state),
        fills_(fills),
        requests_(requests),
        open_(open),
        feed_(feed),
        io_(io),
        stored_(stored) {}

  void report(cubby_stats_block &block, std::vector<cubby_tier_stats> &tiers);
  /// Bytes of the lockers that are pinned in the tier, each once.
  [[nodiscard]] uint64_t pinned_bytes(uint32_t tier) const;
  /// Nanoseconds from now until it would be usable in the tier; ~0 = nothing measured yet.
  [[nodiscard]] uint64_t estimate_ns(const locker_bank &bank, uint32_t number, uint32_t tier) const;
  /// Bytes of all tables there are now.
  [[nodiscard]] uint64_t table_bytes() const;
  /// What one more bank, or one more memory tier, would add.
  [[nodiscard]] uint64_t table_bytes_of(const locker_bank &bank) const;
  [[nodiscard]] uint64_t table_bytes_of_tier() const;
  /// Bytes that one token's visits need at once: Σ over rows of routed_count lockers.
  [[nodiscard]] static uint64_t working_set_bytes(const locker_bank &bank, frame_layout layout);

 private:
  [[nodiscard]] cubby_tier_stats tier_stats(uint32_t tier) const;

  engine_state &state_;
  fill_table &fills_;
  request_table &requests_;
  open_requests &open_;
  policy_feed &feed_;
  fill_io &io_;
  const stored_blocks &stored_;
};

}  // namespace cubby::engine
