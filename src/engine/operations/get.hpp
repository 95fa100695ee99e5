// Gets of blocks that are on disk: each is brought into a tier of host memory, copied from there to
// where the caller wants it, and stays while there is room; with CUBBY_BYPASS it goes past the
// tiers.
#pragma once

#include "engine/operations/prefetch.hpp"

namespace cubby::engine {

class get_operation final : public prefetch_operation {
 public:
  using prefetch_operation::prefetch_operation;
  void begin(uint32_t) override {}

 protected:
  [[nodiscard]] bool is_unrequested() const override { return false; }
  bool begin_past_tiers(uint32_t index, uint32_t item) override;
};

}  // namespace cubby::engine
