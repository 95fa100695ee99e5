#include "platform/lazy_memory.hpp"

#include <sys/mman.h>

#include <cstdint>
#include <new>

#include "base/checked.hpp"

namespace cubby::platform {

namespace {

constexpr size_t small_alignment = 4096;
constexpr size_t huge_alignment = size_t{2} << 20;

}  // namespace

lazy_memory::lazy_memory(size_t bytes) {
  const size_t alignment = bytes >= huge_alignment ? huge_alignment : small_alignment;
  const auto padded = base::checked_add(bytes, 2 * alignment);
  if (!padded) throw std::bad_alloc();
  mapped_bytes_ = base::align_down(*padded, alignment);
  mapping_ = ::mmap(nullptr, mapped_bytes_, PROT_READ | PROT_WRITE,
                    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapping_ == MAP_FAILED) throw std::bad_alloc();
  base_ =
      reinterpret_cast<void *>(base::align_up(reinterpret_cast<uintptr_t>(mapping_), alignment));
  // Advice: without it the table works on small pages.
  if (alignment == huge_alignment) ::madvise(base_, bytes, MADV_HUGEPAGE);
}

lazy_memory::~lazy_memory() { ::munmap(mapping_, mapped_bytes_); }

}  // namespace cubby::platform
