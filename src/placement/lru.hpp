// Least recently used: the resident objects in a doubly linked list by index, oldest first.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "placement/policy.hpp"

namespace cubby::placement {

/// Visiting or inserting a resident object makes it the newest. Visits of objects that are not
/// resident are not remembered. Every call is O(1) per object.
class lru final : public policy {
 public:
  explicit lru(const policy_config &config);

  void visit(std::span<const object> used) override;
  void inserted(object who) override;
  void removed(object who) override;
  void begin_victims() override;
  object next_victim() override;
  void grow(uint32_t object_count) override;
  [[nodiscard]] uint64_t state_bytes() const override;

 private:
  struct node {
    object older = no_object;
    object newer = no_object;
    bool resident = false;
  };

  void link_newest(object who);
  void unlink(object who);

  std::vector<node> nodes_;
  object oldest_ = no_object;
  object newest_ = no_object;
  object cursor_ = no_object;  // what next_victim() names next
};

}  // namespace cubby::placement
