#include "support/failing_new.hpp"

#include <cstdlib>
#include <new>

namespace {

thread_local int64_t left = -1;  // allocations until the one that fails; negative: none does
thread_local bool has_failed = false;

void *allocate(size_t bytes, size_t align) {
  if (left >= 0 && left-- == 0) {
    has_failed = true;
    return nullptr;
  }
  return align == 0 ? std::malloc(bytes > 0 ? bytes : 1)
                    : std::aligned_alloc(align, (bytes + align - 1) / align * align);
}
void *allocate_or_throw(size_t bytes, size_t align) {
  if (void *memory = allocate(bytes, align)) return memory;
  throw std::bad_alloc();
}

}  // namespace

void *operator new(size_t bytes) { return allocate_or_throw(bytes, 0); }
void *operator new(size_t bytes, std::align_val_t align) {
  return allocate_or_throw(bytes, static_cast<size_t>(align));
}
void *operator new(size_t bytes, const std::nothrow_t &) noexcept { return allocate(bytes, 0); }
[[gnu::noinline]] void operator delete(void *memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void *memory, size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void *memory, std::align_val_t) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void *memory, size_t, std::align_val_t) noexcept {
  std::free(memory);
}

namespace cubby_test {

allocation_failure::allocation_failure(int64_t allowed) {
  has_failed = false;
  left = allowed;
}
allocation_failure::~allocation_failure() { left = -1; }
bool allocation_failure::happened() const { return has_failed; }

}  // namespace cubby_test
