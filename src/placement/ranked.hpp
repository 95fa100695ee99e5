// What policies share that give every object a rank and let the least leave first: the ranks, of
// absent objects too, and the residents in a heap.
#pragma once

#include <cubby/policy.h>

#include <compare>
#include <vector>

#include "placement/victim_heap.hpp"

namespace cubby::placement {

/// Item is what an object's rank is made of; by its <=> the smaller leaves first, of equals the one
/// with the lower number.
template <class Item>
class ranked {
 public:
  explicit ranked(const cubby_policy_config &config)
      : items_(config.object_count), heap_(config.object_count) {}

  void inserted(cubby_object object, uint64_t) { heap_.insert(object, order()); }
  void removed(cubby_object object) { heap_.remove(object, order()); }
  void begin_victims(const cubby_policy_need &) { heap_.end_round(order()); }
  cubby_object next_victim() { return heap_.next(order()); }
  void grow(const cubby_policy_config &config) {
    heap_.grow(config.object_count);
    if (config.object_count > items_.size()) items_.resize(config.object_count);
  }

 protected:
  [[nodiscard]] auto order() const {
    return [this](cubby_object a, cubby_object b) {
      const auto ranks = items_[a] <=> items_[b];
      return ranks != 0 ? ranks < 0 : a < b;  // NOLINT(modernize-use-nullptr)
    };
  }
  [[nodiscard]] uint64_t table_bytes() const {
    return heap_.bytes() + items_.capacity() * sizeof(Item);
  }

  std::vector<Item> items_;
  victim_heap heap_;
};

}  // namespace cubby::placement
