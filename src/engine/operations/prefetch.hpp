// Prefetches: item by item, for they hold nothing and need not have all their frames at once.
#pragma once

#include "engine/operations/operation.hpp"
#include "engine/policy_feed.hpp"

namespace cubby::engine {

class prefetch_operation final : public operation {
 public:
  prefetch_operation(const operation_units &units, policy_feed &feed)
      : operation(units), feed_(feed) {}

  void begin(uint32_t index) override { feed_.expect_prefetches(at(index).tier); }
  bool grant(uint32_t index) override;
  bool expire(uint32_t index) override;
  void withdraw(uint32_t index, bool all) override;

 private:
  bool grant_item(uint32_t index, uint32_t item);
  void load(uint32_t index, uint32_t item, bool begun);

  policy_feed &feed_;
  std::vector<uint32_t> begun_;  // the fill of the item at hand
};

}  // namespace cubby::engine
