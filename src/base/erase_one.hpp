// Taking a value out of a vector that has it at most once.
#pragma once

#include <algorithm>
#include <vector>

namespace cubby::base {

/// Unlike std::erase() it looks no further than the first, which is near the front where things
/// end in about the order they began in.
template <class T, class Value>
void erase_one(std::vector<T> &list, const Value &value) {
  const auto at = std::find(list.begin(), list.end(), value);
  if (at != list.end()) list.erase(at);
}

}  // namespace cubby::base
