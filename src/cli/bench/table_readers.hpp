// The ways to look up rows that `cubby bench rows` compares.
#pragma once

#include <cubby/cubby.hpp>
#include <memory>
#include <span>

#include "cli/bench/rows.hpp"

namespace cubby_cli::bench {

/// The rows that are looked up, and where they go, one behind the other.
struct row_order {
  std::vector<uint64_t> rows;
  std::vector<std::byte> into;
};

class table_reader {
 public:
  virtual ~table_reader() = default;
  virtual done look_up(row_order &order) = 0;
  /// None of these rows is in memory afterwards.
  virtual done forget(const row_order &order) = 0;
};

/// A bank of rows of which the host tier holds a share.
class cubby_table final : public table_reader {
 public:
  cubby_table() = default;
  ~cubby_table() override { cubby_close(rt_); }
  done open(const rows_plan &plan);
  done look_up(row_order &order) override;
  done forget(const row_order &order) override;
  /// Of the library's own tables.
  [[nodiscard]] uint64_t table_bytes() const;
  [[nodiscard]] uint64_t budget_bytes() const { return budget_bytes_; }

 private:
  done map(const rows_plan &plan);

  cubby_handle *rt_ = nullptr;
  cubby_bank bank_ = 0;
  uint64_t page_rows_ = 1, budget_bytes_ = 0;
};

/// `advice`: of madvise(). The kernel reads megabytes ahead unless it is MADV_RANDOM.
outcome<std::unique_ptr<table_reader>> map_table(const rows_plan &plan, int advice);
outcome<std::unique_ptr<table_reader>> pread_table(const rows_plan &plan);

}  // namespace cubby_cli::bench
