// What walks through both kinds of traces have in common.
#pragma once

#include "cli/replay/walk/event_log.hpp"
#include "cli/replay/walk/house.hpp"

namespace cubby_cli::replay {

class house_walk : public walk {
 public:
  house_walk(const simulation &how, const cubby_policy_bank &bank, uint32_t slot_count)
      : how_(how),
        keeper_(how, bank, slot_count, how.watchers.empty() ? nullptr : &log_),
        offline_((how.policy->flags & CUBBY_POLICY_OFFLINE) != 0) {}

  [[nodiscard]] int32_t failed() const { return keeper_.failed(); }
  bool advance() final;
  [[nodiscard]] outcome<simulated> finish() const final;

 protected:
  /// So many uses, and those that belong to the last one's visit or request.
  virtual void play(uint64_t uses_max) = 0;

  const simulation how_;
  event_log log_;
  house keeper_;
  const bool offline_;
  simulated found_;

 private:
  uint64_t spent_ns_ = 0;
};

/// As policies are told of next uses.
inline uint64_t from_next(uint32_t next) { return next == ~uint32_t{0} ? CUBBY_NEVER_USED : next; }

/// A bank of lockers of one byte.
cubby_policy_bank bank_like(const simulation &how, uint32_t kind, uint32_t rows, uint32_t columns,
                            uint32_t routed);

/// Why the policy could not be made.
trouble refused(const simulation &how, int32_t failed);

template <class Walk>
outcome<std::unique_ptr<walk>> checked(std::unique_ptr<Walk> made, const simulation &how) {
  if (made->failed() != 0) return refused(how, made->failed());
  return std::unique_ptr<walk>(std::move(made));
}

}  // namespace cubby_cli::replay
