// Puts of blocks that outlive the process: over when their store has them.
#pragma once

#include "engine/operations/operation.hpp"

namespace cubby::engine {

class put_operation final : public operation, public store_waiter {
 public:
  using operation::operation;
  void take_over(uint32_t index) noexcept override;
  bool grant(uint32_t index) override;
  /// What is being written cannot be called back: it completes as it would.
  void withdraw(uint32_t, bool) override {}
  void block_stored(uint32_t request, uint32_t item, const error *why) override;
};

}  // namespace cubby::engine
