#include "support/failing_new.hpp"

#include "support/replaced_new.hpp"

namespace {

thread_local int64_t left = -1;  // allocations until the one that fails; negative: none does
thread_local bool has_failed = false;

bool may_allocate() noexcept {
  if (left < 0 || left-- != 0) return true;
  has_failed = true;
  return false;
}

}  // namespace

namespace cubby_test {

allocation_failure::allocation_failure(int64_t allowed) {
  has_failed = false;
  left = allowed;
  before_allocation = may_allocate;
}
allocation_failure::~allocation_failure() { left = -1; }
bool allocation_failure::happened() const { return has_failed; }

}  // namespace cubby_test
