// Zeroed address space whose pages are taken when they are first written: for tables that are sized
// by what may come and pay for what has come.
#pragma once

#include <cstddef>

namespace cubby::platform {

class lazy_memory {
 public:
  /// Of huge pages where the kernel gives them. Throws std::bad_alloc where no address space is
  /// left.
  explicit lazy_memory(size_t bytes);
  ~lazy_memory();
  lazy_memory(const lazy_memory &) = delete;
  lazy_memory &operator=(const lazy_memory &) = delete;

  [[nodiscard]] void *base() const noexcept { return base_; }

 private:
  void *mapping_ = nullptr;
  size_t mapped_bytes_ = 0;
  void *base_ = nullptr;  // aligned to a huge page where it is as large as one
};

}  // namespace cubby::platform
