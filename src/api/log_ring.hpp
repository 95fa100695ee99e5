// The lines that the library would print if it printed: a ring that the caller drains. When it is
// full the oldest go, and are counted.
#pragma once

#include <algorithm>
#include <deque>
#include <mutex>
#include <new>

#include "base/abi.hpp"
#include "base/printable.hpp"

namespace cubby::api {

class log_ring {
 public:
  explicit log_ring(uint32_t lines_max) : lines_max_(lines_max) {}

  /// Any thread.
  void add(uint64_t at_ns, uint32_t level, cubby_tier tier, const char *text) noexcept {
    cubby_log_line line{at_ns, level, tier, {}};
    base::print_into(line.text, sizeof line.text, text);
    const std::lock_guard lock(mutex_);
    if (lines_.size() == lines_max_) {
      lines_.pop_front();
      ++dropped_;
    }
    try {
      lines_.push_back(line);
    } catch (const std::bad_alloc &) {
      ++dropped_;
    }
  }

  uint32_t take(cubby_log_line *out, uint32_t max_count) {
    const std::lock_guard lock(mutex_);
    const auto count = std::min<size_t>(max_count, lines_.size());
    std::copy_n(lines_.begin(), count, out);
    lines_.erase(lines_.begin(), lines_.begin() + static_cast<std::ptrdiff_t>(count));
    return static_cast<uint32_t>(count);
  }

  [[nodiscard]] uint64_t dropped() const {
    const std::lock_guard lock(mutex_);
    return dropped_;
  }

 private:
  const size_t lines_max_;
  mutable std::mutex mutex_;
  std::deque<cubby_log_line> lines_;
  uint64_t dropped_ = 0;
};

}  // namespace cubby::api
