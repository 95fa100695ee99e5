// The copies in memory tiers: what the admission protocol learns of them, who makes room for whom,
// and the frames that they give back.
#pragma once

#include <string>

#include "engine/admission_driver.hpp"

namespace cubby::engine {

class residents {
 public:
  residents(engine_state &state, fill_table &fills) : state_(state), fills_(fills) {}

  /// A locker has its frame. So the policy hears of newcomers in the order they were asked for in,
  /// and not in that of a disk. Once a fill; later calls do nothing.
  void announce(fill &f);
  /// A locker that has its place for good, without being asked about.
  void admit(uint32_t tier, const locker_bank &bank, uint32_t number);
  /// Its frame goes without having been published.
  void retract(uint32_t tier, const locker_bank &bank, uint32_t number);
  /// False when the copy is pinned or on its way.
  bool drop(locker_bank &bank, uint32_t number, uint32_t tier);
  /// Everything in a tier whose device is lost.
  void drop_lost(uint32_t tier);
  /// Ends a pin of the engine's own.
  void unpin(uint32_t tier, locker_word &word);

  /// True when a frame for the newcomer can be taken now. Where victims have to be copied down
  /// first, enough of them are on their way and the caller waits.
  bool make_room(uint32_t tier, placement::newcomer wanted, const transfer::urgency &order);
  /// May a newcomer have its place, within the budget and only at the cost of those worth less?
  bool win_place(uint32_t tier, const locker_bank &bank, uint32_t number,
                 const transfer::urgency &order);
  bool evict_one(uint32_t tier, placement::newcomer wanted, const transfer::urgency &order,
                 bool may_demote);
  /// Something was unpinned: what was to be decided then stays or goes.
  void decide(uint32_t tier);
  /// A tier whose victims are copied down keeps a few frames free, so that demand need not wait
  /// for the copying.
  void keep_reserve();
  /// Empties a tier where nothing is pinned and nothing moves, for a request that finds no frames
  /// there; memory that came in pieces is taken anew. False: some of it is in use.
  bool clear_tier(uint32_t tier);
  /// Of a tier that was cleared: frames of so many bytes together find one block. False: they would
  /// have found one before, or the system has not given it.
  bool make_block(uint32_t tier, uint64_t bytes);
  /// Gives memory that the budget does not need back.
  void shrink_memory(uint32_t tier);

  /// Makes the policy of a new memory tier; 0, or why it cannot be made.
  int32_t add_policy(uint32_t tier);
  /// After a bank or a tier has come or gone, or a budget or a bank's layout has changed. False: a
  /// policy had no memory for what is new, and goes on as it was.
  bool reconfigure_policies() noexcept;

 private:
  [[nodiscard]] placement::tier_view view_of(uint32_t tier) const;
  [[nodiscard]] bool at_rest(uint32_t tier) const;
  bool merge_memory(uint32_t tier, uint64_t together_bytes);

  engine_state &state_;
  fill_table &fills_;
};

/// A block's number without a key: free again, or once nobody reads its frame any more.
void give_up_number(residents &copies, locker_bank &bank, uint32_t number, uint32_t tier);

}  // namespace cubby::engine
