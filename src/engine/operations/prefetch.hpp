// Prefetches: item by item, for they hold nothing and need not have all their frames at once. Gets
// of blocks on disk are served alike.
#pragma once

#include "engine/operations/operation.hpp"

namespace cubby::engine {

class prefetch_operation : public operation {
 public:
  using operation::operation;
  void begin(uint32_t index) override;
  bool grant(uint32_t index) override;
  bool expire(uint32_t index) override;
  bool refuse_impossible(uint32_t index) override;
  void withdraw(uint32_t index, bool all) override;

 protected:
  /// Does the fill go on when nobody waits for it any more?
  [[nodiscard]] virtual bool is_unrequested() const { return true; }
  /// Is what it brings to stay in the tier?
  [[nodiscard]] virtual bool keeps_copy(const request &) const { return true; }
  /// Is the item brought by way of no tier? Then it is begun.
  virtual bool begin_past_tiers(uint32_t index, uint32_t item);

 private:
  bool grant_item(uint32_t index, uint32_t item);
  void load(uint32_t index, uint32_t item, bool begun);

  std::vector<uint32_t> begun_;  // the fill of the item at hand
};

}  // namespace cubby::engine
