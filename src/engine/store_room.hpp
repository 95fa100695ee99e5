// Which blocks go when a store is full, or a bank has no free number. A store is its budget's
// cache: blocks go that no space in use lists, then those that were not asked for since they were
// looked at last: leaves of their chains before others, durable ones last; none that a lease holds.
#pragma once

#include <map>

#include "engine/store_set.hpp"

namespace cubby::engine {

/// For whoever holds the pump.
class store_room {
 public:
  store_room(engine_state &state, store_set &stores) : state_(state), stores_(stores) {}

  /// Chooses blocks that go. False: none may.
  bool make_room(store_state &in);
  /// Gives up blocks that are only stored, until the bank has a free number. False: none may go.
  bool free_number(locker_bank &bank);
  void forget_bank(const locker_bank &bank) noexcept { hands_.erase(&bank); }

 private:
  enum class pass { leaves, others, durable };

  bool give_up_unlisted(store_state &in);
  bool give_up_next(locker_bank &bank, pass how, bool not_in_memory);
  bool give_up_listed(store_state &in, pass how);
  [[nodiscard]] bool may_go(const locker_bank &bank, uint32_t number, pass how) const;

  engine_state &state_;
  store_set &stores_;
  std::map<const locker_bank *, uint32_t> hands_;  // of the clock over a bank's numbers
};

}  // namespace cubby::engine
