// Least frequently used, with history: uses are counted whether or not the object is resident, so
// an object that keeps missing earns its place. Counts are halved from time to time, so that old
// fame fades.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "placement/policy.hpp"

namespace cubby::placement {

/// Order of leaving: smallest count first, then the one used longest ago, then the lower index.
/// The resident objects are a binary heap in the front of `slots_`; a round takes proposed objects
/// out of the heap and keeps those the caller skipped behind it, until the next call that needs
/// them back. visit(), inserted() and removed() are O(log n) an object, next_victim() O(log n).
class lfu final : public policy {
 public:
  /// All counts are halved when the uses since the last halving reach this many per object.
  static constexpr uint64_t uses_per_object = 32;

  explicit lfu(const policy_config &config);

  void visit(std::span<const object> used) override;
  void inserted(object who) override;
  void removed(object who) override;
  void begin_victims() override;
  object next_victim() override;
  void grow(uint32_t object_count) override;
  [[nodiscard]] uint64_t state_bytes() const override;

  /// Uses counted for the object, after ageing. For tests and reports.
  [[nodiscard]] uint32_t count_of(object who) const { return items_[who].count; }

 private:
  static constexpr uint32_t nowhere = ~uint32_t{0};

  struct item {
    uint64_t last_use = 0;
    uint32_t count = 0;
    uint32_t slot = nowhere;  // in slots_; nowhere when not resident
  };

  [[nodiscard]] bool leaves_before(object a, object b) const;
  void place(uint32_t slot, object who);
  void sift_up(uint32_t slot);
  void sift_down(uint32_t slot);
  void end_round();
  void age();

  std::vector<item> items_;
  std::vector<object> slots_;  // [0, heap_) heap, [heap_, resident_) proposed in this round
  uint32_t heap_ = 0;
  uint32_t resident_ = 0;
  uint64_t clock_ = 0;  // uses seen
  uint64_t uses_ = 0;   // since the last halving
};

}  // namespace cubby::placement
