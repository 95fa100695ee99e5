// Puts of blocks that are not over when their call returns: those that outlive the process are over
// when their store has them, and those whose bytes are in a device's memory have to come from there
// first.
#pragma once

#include "engine/operations/operation.hpp"

namespace cubby::engine {

class put_operation final : public operation, public store_waiter, public region_sink {
 public:
  using operation::operation;
  void take_over(uint32_t index) noexcept override;
  bool grant(uint32_t index) override;
  /// What is being copied or written cannot be called back: it completes as it would.
  void withdraw(uint32_t, bool) override {}
  void block_stored(uint32_t request, uint32_t item, const error *why) override;
  void copied(uint32_t request, uint32_t item, const error *why) override;

 private:
  void let_go(uint32_t index, uint32_t item) noexcept override;
  void begin_item(uint32_t index, uint32_t item);
  void copy_from_device(uint32_t index, uint32_t item);
  void publish_or_store(uint32_t index, uint32_t item);
  void give_up(uint32_t index, uint32_t item, const error &why);
};

}  // namespace cubby::engine
