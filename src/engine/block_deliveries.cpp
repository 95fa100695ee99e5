#include "engine/block_deliveries.hpp"

#include <new>
#include <utility>

namespace cubby::engine {
namespace {

/// Less is copied sooner than it is handed over.
constexpr uint64_t worth_bytes = uint64_t{16} << 10;

}  // namespace

bool block_deliveries::deliver(delivery &&what, delivery_sink &sink) {
  const bool worth = transfer::bytes_of(what.into) >= worth_bytes;
  if (worth && work_.has_help() && hand_over(what, sink)) return false;
  transfer::copy_pieces(what.from, what.into);
  return true;
}

bool block_deliveries::hand_over(delivery &what, delivery_sink &sink) {
  uint64_t frame = 0;
  if (what.word->pin(frame) != residency::pin_outcome::pinned) return false;
  try {
    if (free_.empty()) {
      free_.reserve(under_way_.size() + 1);
      under_way_.add();
      free_.push_back(static_cast<uint32_t>(under_way_.size() - 1));
    }
    transfer::copy_job job;
    job.from = what.from;  // its pieces stay where they are when it is moved
    job.into = what.into;
    job.size_bytes = transfer::bytes_of(what.into);
    job.owner = this;
    job.tag = free_.back();
    if (work_.submit(job)) {
      under_way_[job.tag] = {std::move(what), &sink};
      free_.pop_back();
      return true;
    }
  } catch (const std::bad_alloc &) {  // it is copied here and now
  }
  what.word->unpin();
  return false;
}

void block_deliveries::job_done(uint32_t tag) {
  const delivery_under_way ended = std::exchange(under_way_[tag], {});
  free_.push_back(tag);
  if (ended.what.word->unpin()) state_.changed = true;  // somebody may wait for the frame
  ended.sink->delivered(ended.what.request, ended.what.item);
}

}  // namespace cubby::engine
