// A store that became read-only takes blocks again. What the failed operations wrote, or did not,
// is left behind by a manifest of what is known to be there: replay begins behind the journal's
// pages of before, and blocks that were acknowledged are in it.
#include "base/assert.hpp"
#include "store/durable/block_store.hpp"

namespace cubby::store {

bool block_store::begin_restore() noexcept {
  if (!failure_ || restoring_ || outstanding_ != 0) return false;
  checkpoint_.cancel();
  restoring_ = true;
  checkpoint_wanted_ = false;
  checkpoint_.begin(journal_.position().manifest + 1, journal_.position().next, true);
  return true;
}

/// Erases whose records may have been written are over: the manifest has no such block.
void block_store::end_restore() noexcept {
  restoring_ = false;
  failure_.reset();
  start_step_ = static_cast<uint32_t>(to_repair_.size());  // it may have been the first flush
  for (uint32_t number = 0; number < blocks_.end(); number++) {
    const block_entry *entry = blocks_.find(number);
    if (entry != nullptr && entry->state == block_state::erased) free_block(number);
  }
}

void block_store::give_up_restore() noexcept {
  restoring_ = false;
  checkpoint_.cancel();
  for (flush_line &line : lines_) line.checkpoint_waits = line.checkpoint_covered = false;
}

}  // namespace cubby::store
