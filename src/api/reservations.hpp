// Blocks that callers write in place: frames that nobody finds before they are committed.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "engine/stored_blocks.hpp"

namespace cubby::api {

/// One block of a reservation. Over once it is committed, or given up.
struct reserved_block {
  std::optional<engine::block_write> what;  // nothing where the key was known: nobody writes it
  uint64_t length_bytes = 0;
  uint8_t keep = 0;  // as it was asked for: a known key lives as long
  bool over = false;
};

/// Pump held.
class reservation_list {
 public:
  /// A handle. May throw.
  cubby_pins add(std::vector<reserved_block> &&blocks, uint32_t salt);
  /// How long the blocks that are left are to live; CUBBY_KEEP_SESSION where there is none.
  [[nodiscard]] uint8_t longest_keep(cubby_pins handle) const noexcept;
  /// Blocks of the bank that are to be written, and are neither committed nor given up.
  [[nodiscard]] uint32_t count_of(const residency::locker_bank &bank) const noexcept;
  /// Takes the blocks first..first+count-1, or all that are left for count 0, out of it. STALE: no
  /// such reservation now; INVALID: it has no such blocks, or some were taken before. The blocks of
  /// known keys are nothing. May throw, and then nothing has changed.
  result<std::vector<reserved_block>> take(cubby_pins handle, uint32_t first, uint32_t count);

 private:
  struct slot {
    uint32_t generation = 0;
    uint32_t left = 0;  // blocks that are not over; 0 = free
    std::vector<reserved_block> blocks;
  };
  /// nullptr: it is not open.
  [[nodiscard]] const slot *find(cubby_pins handle) const noexcept;

  std::vector<slot> slots_;
};

}  // namespace cubby::api
