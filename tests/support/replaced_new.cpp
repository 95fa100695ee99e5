#include "support/replaced_new.hpp"

#include <cstdlib>
#include <new>

namespace cubby_test {

std::atomic<bool (*)() noexcept> before_allocation{nullptr};

}  // namespace cubby_test

namespace {

void *allocate(size_t bytes, size_t align) noexcept {
  const auto allowed = cubby_test::before_allocation.load(std::memory_order_relaxed);
  if (allowed != nullptr && !allowed()) return nullptr;
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
