// Allocations that fail when a test says so. Of a program that links failing_new.cpp and
// replaced_new.cpp.
#pragma once

#include <cstdint>

namespace cubby_test {

/// While it stands, the allocation after `allowed` more throws bad_alloc, and those after that
/// succeed again. Only those of the thread that made it count.
class allocation_failure {
 public:
  explicit allocation_failure(int64_t allowed);
  allocation_failure(const allocation_failure &) = delete;
  allocation_failure &operator=(const allocation_failure &) = delete;
  ~allocation_failure();
  /// Has it failed one? Asked before it ends.
  [[nodiscard]] bool happened() const;
};

}  // namespace cubby_test
