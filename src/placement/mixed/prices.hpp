// What objects take and what a miss of each costs, by their banks.
#pragma once

#include <vector>

#include "placement/describe.hpp"

namespace cubby::placement::mixed {

class prices {
 public:
  void set(const cubby_policy_config &config) {
    banks_.assign(config.banks, config.banks + config.bank_count);
    config_ = config;
    config_.banks = banks_.data();
  }
  [[nodiscard]] const cubby_policy_config &config() const { return config_; }
  [[nodiscard]] bool is_expert(cubby_object object) const {
    const cubby_policy_bank *bank = bank_of(config_, object);
    return bank != nullptr && bank->kind == CUBBY_POLICY_BANK_EXPERTS;
  }
  [[nodiscard]] double bytes(cubby_object object) const {
    const cubby_policy_bank *bank = bank_of(config_, object);
    return bank == nullptr ? 1 : static_cast<double>(std::max<uint64_t>(bank->object_bytes, 1));
  }
  /// By bytes, where no cost is known.
  [[nodiscard]] double stall_ns(cubby_object object) const {
    const cubby_policy_bank *bank = bank_of(config_, object);
    return bank == nullptr || bank->refetch_ns == 0 ? bytes(object)
                                                    : static_cast<double>(bank->refetch_ns);
  }
  [[nodiscard]] uint64_t memory_bytes() const {
    return banks_.capacity() * sizeof(cubby_policy_bank);
  }

 private:
  std::vector<cubby_policy_bank> banks_;
  cubby_policy_config config_ = {};
};

}  // namespace cubby::placement::mixed
