// operator new of a test program that links replaced_new.cpp: a test sees every allocation, and
// says whether it may succeed.
#pragma once

#include <atomic>

namespace cubby_test {

/// Called before every allocation of any thread, unless it is nullptr; false: the allocation fails.
/// It must not allocate.
extern std::atomic<bool (*)() noexcept> before_allocation;

}  // namespace cubby_test
