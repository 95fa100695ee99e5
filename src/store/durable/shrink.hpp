// Makes a store smaller: a new one of the smaller budget is written beside it and takes its place
// when all of it is on the device. So whenever it stops, the old store or the new one is there.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "store/durable/open_store.hpp"

namespace cubby::store {

struct shrink_outcome {
  uint64_t old_bytes = 0, bytes = 0;                // of the file
  uint64_t blocks = 0, block_bytes = 0;             // copied
  uint64_t left_out = 0, left_out_bytes = 0;        // found no room
  uint64_t without_parent = 0;                      // copied; their parent is not in the new store
  uint64_t free_bytes = 0;                          // in the new store
  std::vector<std::pair<uint32_t, error>> damaged;  // by their number in the old store; dropped
};

/// Of `all` blocks so many are done, with so many bytes. False: stop, and leave all as it was.
using shrink_progress = std::function<bool(uint64_t done, uint64_t all, uint64_t bytes)>;

/// Copies the blocks put last, as many as fit, with their key, parent, space, keep and parts; none
/// that is damaged. `old` is not changed, and when this succeeds its file has no name any more.
/// NOT_SUPPORTED: it has several files. INVALID: the budget is none that makes it smaller, with
/// needed_bytes where it is too small. CANCELED: `progress` said so. May throw.
result<shrink_outcome> shrink_store(const opened_store &old, uint64_t budget_bytes,
                                    const shrink_progress &progress);

}  // namespace cubby::store
