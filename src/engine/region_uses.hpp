// Regions of the caller that are in use: they are not removed before this is released.
#pragma once

#include <atomic>
#include <cstdint>
#include <utility>
#include <vector>

namespace cubby::engine {

class region_uses {
 public:
  region_uses() = default;
  region_uses(region_uses &&other) noexcept : counts_(std::exchange(other.counts_, {})) {}
  region_uses &operator=(region_uses &&other) noexcept {
    if (this == &other) return *this;
    release();
    counts_ = std::exchange(other.counts_, {});
    return *this;
  }
  ~region_uses() { release(); }

  /// One use more of the region with this count. May throw, and then nothing has changed.
  void add(std::atomic<uint32_t> &count) {
    counts_.push_back(&count);
    count.fetch_add(1);
  }
  /// Those of `other` are in here from now on. May throw, and then nothing has changed.
  void take(region_uses &other) {
    counts_.insert(counts_.end(), other.counts_.begin(), other.counts_.end());
    other.counts_.clear();
  }
  /// One use more of each of those of `other`, which goes on to hold its own. May throw, and then
  /// nothing has changed.
  void share(const region_uses &other) {
    counts_.insert(counts_.end(), other.counts_.begin(), other.counts_.end());
    for (std::atomic<uint32_t> *count : other.counts_) count->fetch_add(1);
  }
  void release() noexcept {
    for (std::atomic<uint32_t> *count : counts_) count->fetch_sub(1);
    counts_.clear();
  }

 private:
  std::vector<std::atomic<uint32_t> *> counts_;
};

}  // namespace cubby::engine
