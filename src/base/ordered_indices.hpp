// A doubly linked list over the indices of a table: members join, leave and are walked in the order
// they joined, without searching and without memory of their own once the table has its size.
#pragma once

#include <cstdint>
#include <vector>

#include "base/assert.hpp"

namespace cubby::base {

class ordered_indices {
 public:
  static constexpr uint32_t none = ~uint32_t{0};

  /// Indices below `count` may join from here on. May throw.
  void grow(uint32_t count) {
    if (count > links_.size()) links_.resize(count);
  }
  [[nodiscard]] bool has(uint32_t index) const { return links_[index].joined; }
  [[nodiscard]] bool empty() const { return first_ == none; }
  [[nodiscard]] uint32_t size() const { return count_; }
  [[nodiscard]] uint32_t first() const { return first_; }
  [[nodiscard]] uint32_t after(uint32_t index) const { return links_[index].next; }

  void push_back(uint32_t index) {
    link &here = links_[index];
    CUBBY_ASSERT(!here.joined);
    here = {last_, none, true};
    (last_ == none ? first_ : links_[last_].next) = index;
    last_ = index;
    ++count_;
  }
  void erase(uint32_t index) {
    const link here = links_[index];
    CUBBY_ASSERT(here.joined);
    (here.before == none ? first_ : links_[here.before].next) = here.next;
    (here.next == none ? last_ : links_[here.next].before) = here.before;
    links_[index] = {};
    --count_;
  }

 private:
  struct link {
    uint32_t before = none, next = none;
    bool joined = false;
  };
  std::vector<link> links_;
  uint32_t first_ = none, last_ = none, count_ = 0;
};

}  // namespace cubby::base
