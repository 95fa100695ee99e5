// Memory taken before it is needed, so that what follows cannot fail for lack of it.
#pragma once

#include <algorithm>
#include <cstddef>
#include <utility>
#include <vector>

namespace cubby::base {

/// Room for `count` values in all; grows by doubling. May throw, and then nothing has changed.
template <class T>
void make_room(std::vector<T> &list, size_t count) {
  if (list.capacity() < count) list.reserve(std::max(count, 2 * list.capacity()));
}

/// Nodes of a std::set or std::map that are not in it just now.
template <class Container>
class node_pool {
 public:
  using node = typename Container::node_type;

  /// From here on so many nodes are in the container and here together, at least. May throw.
  void own(size_t count) {
    if (count > owned_) grow(count);
  }
  /// Takes memory only beyond what was made own.
  [[nodiscard]] node take() {
    if (spare_.empty()) own(owned_ + 1);
    node one = std::move(spare_.back());
    spare_.pop_back();
    return one;
  }
  void give(node &&one) noexcept { spare_.push_back(std::move(one)); }

 private:
  void grow(size_t count) {
    make_room(spare_, count);
    for (; owned_ < count; ++owned_) {
      Container one;
      one.emplace();
      spare_.push_back(one.extract(one.begin()));
    }
  }

  std::vector<node> spare_;
  size_t owned_ = 0;
};

}  // namespace cubby::base
