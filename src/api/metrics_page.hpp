// A page of memory that other processes may read and only this one writes.
#pragma once

#include <string_view>

#include "base/metrics_page.hpp"
#include "base/result.hpp"

namespace cubby::api {

/// Not thread-safe.
class metrics_page {
 public:
  /// A sealed memfd, found by others as /proc/PID/fd/N; it goes with the process, however that
  /// ends. NO_MEMORY, IO.
  static result<metrics_page> make(uint64_t interval_ns);
  metrics_page() = default;
  metrics_page(metrics_page &&other) noexcept { swap(other); }
  metrics_page &operator=(metrics_page &&other) noexcept {
    swap(other);
    return *this;
  }
  metrics_page(const metrics_page &) = delete;
  metrics_page &operator=(const metrics_page &) = delete;
  ~metrics_page();

  [[nodiscard]] explicit operator bool() const { return header_ != nullptr; }
  /// What does not fit is left out by whole lines, and counted.
  void write(std::string_view text, uint64_t now_ns);

 private:
  void swap(metrics_page &other) noexcept {
    std::swap(fd_, other.fd_);
    std::swap(header_, other.header_);
  }

  int fd_ = -1;
  base::metrics_page_header *header_ = nullptr;
};

}  // namespace cubby::api
