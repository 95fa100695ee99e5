// Resizes of memory tiers: the bound holds at once for what comes, and what is too much is evicted.
#pragma once

#include "engine/operations/operation.hpp"

namespace cubby::engine {

class resize_operation final : public operation {
 public:
  using operation::operation;
  bool grant(uint32_t index) override;
  void withdraw(uint32_t index, bool all) override;
};

}  // namespace cubby::engine
