// Makes room in memory tiers: which copies leave, and whether they are dropped or copied down.
#pragma once

#include <string>
#include <vector>

#include "engine/residents.hpp"

namespace cubby::engine {

class eviction {
 public:
  eviction(engine_state &state, fill_table &fills, residents &copies)
      : state_(state), fills_(fills), copies_(copies) {}

  /// What room is made for.
  struct newcomer {
    placement::object object = placement::no_object;  // none: only room is needed
    uint64_t bytes = 0;                               // of a hole that it wants; 0 = any
  };
  /// Whose admission is asked for: of a locker that has no frame yet, of one on probation, or of
  /// one on probation that is pinned for long and is not asked to leave.
  enum class admission_of { newcomer, probationary, long_pinned };

  /// Evicts until a frame of these bytes fits; false when it does not (yet).
  bool make_room(uint32_t tier, const newcomer &wanted, const transfer::urgency &order);
  /// True when the locker may be admitted now: within the budget of what is admitted, and only at
  /// the cost of lockers worth less, unless it is pinned for long.
  bool admit(uint32_t tier, locker_bank &bank, uint32_t number, admission_of what,
             const transfer::urgency &order);
  bool evict_one(uint32_t tier, const newcomer &wanted, const transfer::urgency &order,
                 bool may_demote);
  /// Something was unpinned: what was not to stay goes, and what is on probation stays or goes.
  void settle(uint32_t tier);
  /// A tier whose victims are copied down keeps a few frames free, so that demand need not wait
  /// for the copying.
  void keep_reserve();
  /// Empties a tier where nothing is pinned and nothing moves, for a request that finds no frames
  /// there; memory that came in pieces is taken anew. False: some of it is in use.
  bool clear_tier(uint32_t tier);
  /// Gives memory that the budget does not need back.
  void shrink_memory(uint32_t tier);

 private:
  placement::object choose_victim(uint32_t tier, const newcomer &wanted, bool spare_prefetched,
                                  const std::vector<placement::object> &besides = {});
  placement::object next_by_number(uint32_t tier, uint32_t &looked);
  bool evict(uint32_t tier, placement::object object, const transfer::urgency &order,
             bool may_demote);
  bool demote(uint32_t tier, locker_bank &bank, uint32_t number, const transfer::urgency &order);
  bool find_victims(uint32_t tier, const newcomer &wanted, uint64_t cost, bool must,
                    std::vector<placement::object> &victims);
  bool fits_beside(uint32_t tier, placement::object object, uint64_t cost);
  void sweep_no_allocate(uint32_t tier);
  void decide_probation(uint32_t tier);
  bool drop_probationary(uint32_t tier, bool unused_too);
  void drop_exclusive_copies_below(uint32_t tier, locker_bank &bank, uint32_t number);
  [[nodiscard]] bool at_rest(uint32_t tier) const;
  void merge_memory(uint32_t tier);

  engine_state &state_;
  fill_table &fills_;
  residents &copies_;
};

}  // namespace cubby::engine
