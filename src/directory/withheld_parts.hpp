// Until when parts that failed to load are not offered. Which parts they are is in their records.
#pragma once

#include <cstdint>
#include <map>
#include <set>
#include <utility>

namespace cubby::directory {

class withheld_parts {
 public:
  /// The later of two times counts. May throw, and then nothing has changed.
  void withhold(uint32_t index, uint64_t until_ns) {
    const auto known = until_.find(index);
    if (known != until_.end()) {
      if (known->second >= until_ns) return;
      due_.emplace(until_ns, index);
      due_.erase({known->second, index});
      known->second = until_ns;
      return;
    }
    const auto due = due_.emplace(until_ns, index).first;
    try {
      until_.emplace(index, until_ns);
    } catch (...) {
      due_.erase(due);
      throw;
    }
  }
  void forget(uint32_t index) noexcept {
    const auto known = until_.find(index);
    if (known == until_.end()) return;
    due_.erase({known->second, index});
    until_.erase(known);
  }
  [[nodiscard]] uint64_t next_ns() const noexcept {
    return due_.empty() ? ~uint64_t{0} : due_.begin()->first;
  }
  /// The one whose time comes first; there is one.
  [[nodiscard]] uint32_t next() const noexcept { return due_.begin()->second; }
  [[nodiscard]] uint64_t count() const noexcept { return until_.size(); }
  [[nodiscard]] uint64_t bytes() const noexcept {
    constexpr uint64_t tree_node = 32;
    return count() * (2 * tree_node + sizeof(*until_.begin()) + sizeof(*due_.begin()));
  }

 private:
  std::map<uint32_t, uint64_t> until_;           // by node
  std::set<std::pair<uint64_t, uint32_t>> due_;  // the same by time
};

}  // namespace cubby::directory
