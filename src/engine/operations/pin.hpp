// Pins of which something was absent: the set loads as a whole.
#pragma once

#include "engine/operations/operation.hpp"

namespace cubby::engine {

class pin_operation final : public operation {
 public:
  using operation::operation;
  bool grant(uint32_t index) override;
  bool refuse_impossible(uint32_t index) override;
  void withdraw(uint32_t index, bool all) override;

 private:
  void settle(uint32_t index);
  void settle_item(uint32_t index, uint32_t item);
  void land_behind_copies(uint32_t index);

  std::vector<uint32_t> begun_;  // the fills of the request at hand
};

}  // namespace cubby::engine
