// What a policy's description says in objects: the tier's size is given in bytes.
#pragma once

#include <cubby/policy.h>

#include <algorithm>

namespace cubby::placement {

/// Bank of an object; nullptr when it is of none.
inline const cubby_policy_bank *bank_of(const cubby_policy_config &config, cubby_object object) {
  for (uint32_t i = 0; i < config.bank_count; ++i) {
    const cubby_policy_bank &bank = config.banks[i];
    const uint64_t count = uint64_t{bank.rows} * bank.columns;
    if (object >= bank.first_object && object - bank.first_object < count) return &bank;
  }
  return nullptr;
}

/// How many objects the budget holds, by the mean size of all lockers; at least 1.
inline uint32_t capacity_of(const cubby_policy_config &config) {
  double bytes = 0, count = 0;
  for (uint32_t i = 0; i < config.bank_count; ++i) {
    const cubby_policy_bank &bank = config.banks[i];
    const double lockers = static_cast<double>(bank.rows) * bank.columns;
    bytes += lockers * static_cast<double>(std::max<uint64_t>(bank.object_bytes, 1));
    count += lockers;
  }
  if (count == 0) return std::max(1u, config.object_count);
  const double fits = static_cast<double>(config.budget_bytes) * count / bytes + 1e-6;
  return static_cast<uint32_t>(std::clamp(fits, 1.0, 4294967294.0));
}

}  // namespace cubby::placement
