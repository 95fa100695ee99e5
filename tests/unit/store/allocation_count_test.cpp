// Every allocation of this program passes here, so that a test can say what a reader asked for.
#include "support/catch.hpp"

#include <algorithm>
#include <cstdlib>
#include <new>
#include <vector>

#include "scratch.hpp"

namespace {

size_t largest_bytes = 0;

}  // namespace

void *operator new(size_t bytes) {
  largest_bytes = std::max(largest_bytes, bytes);
  if (void *memory = malloc(bytes > 0 ? bytes : 1)) return memory;
  throw std::bad_alloc();
}
void *operator new(size_t bytes, const std::nothrow_t &) noexcept {
  largest_bytes = std::max(largest_bytes, bytes);
  return malloc(bytes > 0 ? bytes : 1);
}
[[gnu::noinline]] void operator delete(void *memory) noexcept { free(memory); }
[[gnu::noinline]] void operator delete(void *memory, size_t) noexcept { free(memory); }

size_t &scratch::largest_allocation() { return largest_bytes; }

TEST_CASE("the largest allocation is seen") {
  scratch::largest_allocation() = 0;
  const std::vector<char> taken(123456);
  CHECK(scratch::largest_allocation() == taken.size());
}
