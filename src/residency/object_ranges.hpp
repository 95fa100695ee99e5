// Which object numbers are free. Policies number all lockers of a runtime densely.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace cubby::residency {

class object_ranges {
 public:
  /// Room to note so many free ranges: give() then never allocates.
  void reserve(size_t count) { free_.reserve(count); }
  /// The lowest `count` numbers in a row that are free; the end is below `limit`.
  std::optional<uint32_t> take(uint32_t count, uint32_t limit);
  /// Of a range that was taken.
  void give(uint32_t base, uint32_t count) noexcept;
  /// All numbers that are taken are below it, and the last of them is the one before it.
  [[nodiscard]] uint32_t end() const { return end_; }
  [[nodiscard]] size_t free_ranges() const { return free_.size(); }

 private:
  struct range {
    uint32_t base = 0, count = 0;
  };
  std::vector<range> free_;  // by base; no two touch, and none the end
  uint32_t end_ = 0;
};

}  // namespace cubby::residency
