// A list over indices: order of joining, removal from anywhere.
#include "base/ordered_indices.hpp"

#include "support/catch.hpp"

namespace ordered_indices_test {

using cubby::base::ordered_indices;

namespace {

std::vector<uint32_t> members(const ordered_indices &list) {
  std::vector<uint32_t> all;
  for (uint32_t i = list.first(); i != ordered_indices::none; i = list.after(i)) all.push_back(i);
  return all;
}

}  // namespace

TEST_CASE("members leave from the front, the middle and the end") {
  ordered_indices list;
  list.grow(8);
  for (const uint32_t index : {5u, 0u, 7u, 2u}) list.push_back(index);
  CHECK(members(list) == std::vector<uint32_t>{5, 0, 7, 2});
  list.erase(0);
  list.erase(5);
  list.erase(2);
  CHECK(members(list) == std::vector<uint32_t>{7});
  CHECK_FALSE(list.has(5));
  list.push_back(5);
  CHECK(members(list) == std::vector<uint32_t>{7, 5});
  list.erase(7);
  list.erase(5);
  CHECK(list.empty());
  CHECK(list.size() == 0);
}

}  // namespace ordered_indices_test
