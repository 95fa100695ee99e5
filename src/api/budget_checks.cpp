#include "api/budget_checks.hpp"

#include <algorithm>
#include <new>

namespace cubby::api {

using ull = unsigned long long;

result<void> budget_checks::check_tables(uint64_t more_bytes, const std::string &what) const {
  const uint64_t needed = engine_.numbers.table_bytes() + more_bytes;
  if (table_bytes_max_ == 0 || needed <= table_bytes_max_) return {};
  error failure = fail(CUBBY_ERR_BUDGET,
                       "%s: the library's own tables would need %llu bytes, "
                       "cubby_config.table_bytes_max is %llu; raise it, or lower tickets_max",
                       what.c_str(), static_cast<ull>(needed), static_cast<ull>(table_bytes_max_));
  failure.needed_bytes = needed;
  return failure;
}

void budget_checks::warn_working_set(log_ring &lines, uint64_t now_ns) noexcept try {
  for (const residency::locker_bank *bank : engine_.state.banks.in_order()) {
    if (bank->desc().routed_count == 0) continue;
    for (uint32_t i = 0; i < engine_.state.tiers.count(); ++i) {
      const engine::tier_slot &slot = engine_.state.tiers[i];
      if (slot.memory == nullptr) continue;
      const uint64_t needed = engine::statistics::working_set_bytes(*bank, bank->layout(i));
      const uint64_t budget = slot.memory->budget_bytes();
      if (budget >= needed) continue;
      const working_set_warning now{bank->handle, slot.handle, budget};
      if (std::find(warned_.begin(), warned_.end(), now) != warned_.end()) continue;
      warned_.push_back(now);
      const std::string line = format_text(
          "tier %s: its budget of %llu bytes is below one token's working set of bank "
          "%s, %llu bytes; policies by recency will hit little",
          slot.name.c_str(), static_cast<ull>(budget), bank->desc().name, static_cast<ull>(needed));
      lines.add(now_ns, 1, slot.handle, line.c_str());
    }
  }
} catch (const std::bad_alloc &) {  // what it warns of has been done all the same
}

void budget_checks::warn_store_numbers(log_ring &lines, uint64_t now_ns) noexcept try {
  for (const residency::locker_bank *bank : engine_.state.banks.in_order()) {
    if (bank->blocks == nullptr) continue;
    for (uint32_t i = 0; i < engine_.state.tiers.count(); ++i) {
      const engine::disk_store *const store = engine_.stored.store_of(i);
      if (store == nullptr) continue;
      const uint64_t count = store->content().places().shape().blocks_max;
      const uint64_t bytes =
          count * store::pages_of(bank->locker_bytes(0)) * uint64_t{store::page_bytes};
      const uint64_t room = store->content().statistics().data_bytes;
      if (bytes >= room) continue;
      const engine::tier_slot &slot = engine_.state.tiers[i];
      const std::pair<cubby_bank, cubby_tier> now{bank->handle, slot.handle};
      if (std::find(warned_numbers_.begin(), warned_numbers_.end(), now) != warned_numbers_.end())
        continue;
      warned_numbers_.push_back(now);
      const std::string line = format_text(
          "tier %s: its store was made with numbers for %llu blocks, which of bank %s fill %llu "
          "bytes of its %llu; remove the store, and add the bank before the tier, so that it is "
          "made for blocks of this size",
          slot.name.c_str(), static_cast<ull>(count), bank->desc().name, static_cast<ull>(bytes),
          static_cast<ull>(room));
      lines.add(now_ns, 1, slot.handle, line.c_str());
    }
  }
} catch (const std::bad_alloc &) {  // what it warns of has been done all the same
}

void budget_checks::forget(cubby_bank bank) {
  std::erase_if(warned_, [&](const working_set_warning &one) { return one.bank == bank; });
  std::erase_if(warned_numbers_, [&](const auto &one) { return one.first == bank; });
}

}  // namespace cubby::api
