// Uses of KV blocks as policies learn of them: which block each follows in its chain, and how far
// from the root it is.
#pragma once

#include <cubby/policy.h>

#include <span>

#include "engine/engine_state.hpp"

namespace cubby::engine {

/// Where the policies find the row of a bank.
[[nodiscard]] placement::visit_place place_for_policies(const engine_state &state,
                                                        const locker_bank &bank, uint32_t row);

/// One use; `before` is that before it in the same request, if any.
[[nodiscard]] cubby_policy_access block_use(const locker_bank &bank, cubby_object object,
                                            const cubby_policy_access *before);

/// What the policies learn of puts, each before its block is in a tier. The blocks of one call are
/// those of one request.
class put_uses {
 public:
  explicit put_uses(engine_state &state) : state_(state) {}

  /// `call` tells calls apart; 0 = one of this block alone.
  void note(const locker_bank &bank, uint32_t number, uint64_t call);

 private:
  engine_state &state_;
  uint64_t last_call_ = 0;
  cubby_policy_access last_ = {};
};

}  // namespace cubby::engine
