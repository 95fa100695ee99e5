// Gets of blocks that are on disk: each is brought into a tier of host memory, copied from there to
// where the caller wants it, and stays while there is room.
#pragma once

#include "engine/operations/prefetch.hpp"

namespace cubby::engine {

class get_operation final : public prefetch_operation {
 public:
  using prefetch_operation::prefetch_operation;
  void begin(uint32_t) override {}

 protected:
  [[nodiscard]] bool is_unrequested() const override { return false; }
};

}  // namespace cubby::engine
