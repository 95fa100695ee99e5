// Who hears of blocks that were brought to where a get wants them.
#pragma once

#include <cstdint>

namespace cubby::engine {

class delivery_sink {
 public:
  virtual void delivered(uint32_t request, uint32_t item) = 0;
  /// Its bytes have to come through a tier of memory.
  virtual void not_delivered(uint32_t request, uint32_t item) = 0;

 protected:
  ~delivery_sink() = default;
};

}  // namespace cubby::engine
