// Spaces: the keys of one fingerprint and domain. Each has an identity that is never used again and
// is part of every key, so nothing is found across spaces, and a removed space's keys are found by
// nobody from that moment on; its entries are reclaimed later, in steps.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/result.hpp"

namespace cubby::directory {

class space_table {
 public:
  using bytes = std::span<const uint8_t>;

  /// For so many handles at once, at most 65,535.
  explicit space_table(uint32_t handle_max);

  /// Writer. A handle. The same pair gives another handle on the same space.
  result<uint32_t> add(bytes fingerprint, bytes domain);
  /// Writer. STALE where it is no handle now. With the last handle its space is over.
  result<void> remove(uint32_t handle);
  /// Any thread: the identity of a handle's space, from 1; 0 = stale.
  [[nodiscard]] uint32_t id_of(uint32_t handle) const noexcept {
    const uint32_t index = (handle & 0xFFFF) - 1;
    if (index >= handle_max_) return 0;
    const uint64_t word = slots_[index].load(std::memory_order_acquire);
    return static_cast<uint32_t>(word >> 32) == handle ? static_cast<uint32_t>(word) : 0;
  }
  static error stale_handle(uint32_t handle);

  /// Writer: what its keys do. A space that is over is forgotten with its last entry.
  [[nodiscard]] bool is_open(uint32_t id) const;
  void entered(uint32_t id) noexcept;
  void left(uint32_t id) noexcept;
  void put_began(uint32_t id) noexcept;
  void put_ended(uint32_t id) noexcept;

  /// Entries of spaces that are over, without those that a put has yet to end.
  [[nodiscard]] uint64_t reclaimable() const noexcept { return over_entries_ - over_pending_; }
  [[nodiscard]] uint32_t open_count() const noexcept { return static_cast<uint32_t>(ids_.size()); }
  [[nodiscard]] uint64_t table_bytes() const noexcept;

 private:
  using pair = std::pair<std::string, std::string>;
  struct space {
    uint32_t handles = 0;
    uint64_t entries = 0, pending = 0;  // pending: of the entries
    std::map<pair, uint32_t>::iterator place;
  };
  struct slot_life {
    bool taken = false;
    uint32_t handles_given = 0;
    uint64_t freed = 0;  // when, in removals
  };

  result<uint32_t> free_slot() const;

  const uint32_t handle_max_;
  const std::unique_ptr<std::atomic<uint64_t>[]> slots_;  // handle << 32 | identity; 0 = free
  std::vector<slot_life> lives_;
  std::map<pair, uint32_t> ids_;      // of open spaces
  std::map<uint32_t, space> spaces_;  // also those that are over and have entries
  uint32_t last_id_ = 0;
  uint64_t removals_ = 0;
  uint64_t over_entries_ = 0, over_pending_ = 0;
};

}  // namespace cubby::directory
