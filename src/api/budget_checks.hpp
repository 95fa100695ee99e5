// Budgets held against what they are to hold: the library's own tables, and one token's working
// set.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "api/log_ring.hpp"
#include "base/abi.hpp"
#include "base/result.hpp"
#include "engine/engine.hpp"

namespace cubby::api {

/// Used with the pump held.
class budget_checks {
 public:
  /// `table_bytes_max`: of cubby_config; 0 = no ceiling.
  budget_checks(const engine::parts &engine, uint64_t table_bytes_max)
      : engine_(engine), table_bytes_max_(table_bytes_max) {}

  /// BUDGET when so much more would exceed the ceiling of the library's own tables.
  [[nodiscard]] result<void> check_tables(uint64_t more_bytes, const std::string &what) const;
  /// A line in the log for each budget below one token's working set, said once.
  void warn_working_set(log_ring &lines, uint64_t now_ns) noexcept;
  /// The same for each store that has too few numbers for the blocks of a bank to fill it.
  void warn_store_numbers(log_ring &lines, uint64_t now_ns) noexcept;
  /// The bank is gone: its number may stand for another.
  void forget(cubby_bank bank);

 private:
  struct working_set_warning {
    cubby_bank bank = 0;
    cubby_tier tier = 0;
    uint64_t budget_bytes = 0;
    bool operator==(const working_set_warning &) const = default;
  };
  const engine::parts &engine_;
  const uint64_t table_bytes_max_;
  std::vector<working_set_warning> warned_;
  std::vector<std::pair<cubby_bank, cubby_tier>> warned_numbers_;
};

}  // namespace cubby::api
