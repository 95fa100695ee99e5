// Page-aligned buffers for what the store writes itself, fit for O_DIRECT.
#pragma once

#include <cstring>
#include <memory>

#include "store/durable/format.hpp"

namespace cubby::store {

struct alignas(page_bytes) page {
  unsigned char bytes[page_bytes];
};

class page_buffer {
 public:
  explicit page_buffer(size_t count) : pages_(new page[count]()) {}
  [[nodiscard]] unsigned char *at(size_t index) const noexcept { return pages_[index].bytes; }
  void clear(size_t index) noexcept { memset(at(index), 0, page_bytes); }

 private:
  std::unique_ptr<page[]> pages_;
};

}  // namespace cubby::store
