// Gathers of table rows: page after page comes into a tier of host memory, as far as there is room,
// its rows are copied from there, and it may leave again. So a gather may be larger than its tier.
#pragma once

#include "engine/operations/prefetch.hpp"

namespace cubby::engine {

class gather_operation final : public prefetch_operation {
 public:
  using prefetch_operation::prefetch_operation;
  void begin(uint32_t index) override {
    const request &r = at(index);
    units_.state.tiers[r.tier].stats.miss_count += r.items.size();
  }

 protected:
  [[nodiscard]] bool is_unrequested() const override { return false; }
  [[nodiscard]] bool keeps_copy(const request &r) const override {
    return (r.flags & CUBBY_BYPASS) == 0;
  }
};

}  // namespace cubby::engine
