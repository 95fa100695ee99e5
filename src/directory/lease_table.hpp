// Leases: ranges of keys that may not be evicted until they are released or their time is over.
#pragma once

#include <cstdint>
#include <set>
#include <span>
#include <utility>
#include <vector>

#include "base/result.hpp"
#include "directory/node_pool.hpp"

namespace cubby::directory {

class lease_table {
 public:
  /// `lease_max` at once.
  lease_table(node_pool &pool, uint32_t lease_max) : pool_(pool), lease_max_(lease_max) {}

  /// Holds all the entries; a handle. BUSY: as many leases are open as may be, or one entry is held
  /// by 65,535. May throw, and then nothing has changed.
  result<uint64_t> take(std::span<const entry_ref> entries, uint64_t expires_ns);
  /// Releases items first..first+count-1; count 0 = all that are still held. STALE: no such lease
  /// now, or one of the items was released before; then nothing is released.
  result<void> release(uint64_t handle, uint32_t first, uint32_t count);
  /// Ends leases whose time is over, until at least `item_max` items are released. How many were.
  uint32_t expire(uint64_t now_ns, uint32_t item_max) noexcept;

  [[nodiscard]] uint32_t open_count() const noexcept { return static_cast<uint32_t>(due_.size()); }
  [[nodiscard]] uint64_t next_expiry_ns() const noexcept {
    return due_.empty() ? ~uint64_t{0} : due_.begin()->first;
  }
  [[nodiscard]] uint64_t bytes() const noexcept;

 private:
  struct lease {
    uint32_t generation = 0;
    uint32_t held_count = 0;
    uint64_t expires_ns = 0;
    std::vector<entry_ref> items;  // life 0 = released
  };

  [[nodiscard]] lease *find(uint64_t handle) noexcept;
  void let_go(lease &from, entry_ref &item) noexcept;
  void end(uint32_t index) noexcept;

  node_pool &pool_;
  const uint32_t lease_max_;
  std::vector<lease> leases_;
  std::vector<uint32_t> free_;                   // has room for all of leases_
  std::set<std::pair<uint64_t, uint32_t>> due_;  // when, which
};

}  // namespace cubby::directory
