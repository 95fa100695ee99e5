#include "tier/extent_allocator.hpp"

#include <iterator>

#include "base/assert.hpp"

namespace cubby::tier {

/// There are at most as many holes as blocks and taken runs, for each hole ends at one of those.
void extent_allocator::own_nodes(size_t count) {
  spare_holes_.own(count);
  spare_sizes_.own(count);
}

void extent_allocator::insert(uint64_t first, uint64_t count) {
  auto hole = spare_holes_.take();
  hole.key() = first;
  hole.mapped() = count;
  holes_.insert(std::move(hole));
  auto size = spare_sizes_.take();
  size.value() = {count, first};
  by_size_.insert(std::move(size));
}

void extent_allocator::erase(std::map<uint64_t, uint64_t>::iterator hole) noexcept {
  spare_sizes_.give(by_size_.extract({hole->second, hole->first}));
  spare_holes_.give(holes_.extract(hole));
}

void extent_allocator::add_block(uint64_t first, uint64_t count) {
  CUBBY_ASSERT(count != 0);
  own_nodes(blocks_.size() + 1 + taken_runs_);
  blocks_.emplace(first, count);
  insert(first, count);
  free_count_ += count;
}

bool extent_allocator::remove_block(uint64_t first) {
  settle();
  const auto block = blocks_.find(first);
  CUBBY_ASSERT(block != blocks_.end());
  const auto hole = holes_.find(first);
  if (hole == holes_.end() || hole->second != block->second) return false;
  free_count_ -= block->second;
  erase(hole);
  blocks_.erase(block);
  return true;
}

uint64_t extent_allocator::block_start(uint64_t unit) const {
  const auto after = blocks_.upper_bound(unit);
  CUBBY_ASSERT(after != blocks_.begin());
  return std::prev(after)->first;
}

uint64_t extent_allocator::block_end(uint64_t unit) const {
  const uint64_t start = block_start(unit);
  return start + blocks_.at(start);
}

std::optional<uint64_t> extent_allocator::take(uint64_t count) {
  CUBBY_ASSERT(count != 0);
  if (recent_runs_ != 0 && run_count_ == count) {
    free_count_ -= count;
    return recent_[--recent_runs_];
  }
  settle();
  mixed_ = mixed_ || (run_count_ != 0 && run_count_ != count);
  run_count_ = count;
  const auto best = by_size_.lower_bound({count, 0});
  if (best == by_size_.end()) return std::nullopt;
  own_nodes(blocks_.size() + taken_runs_ + 1);
  ++taken_runs_;
  const auto [size, first] = *best;
  erase(holes_.find(first));
  if (size > count) insert(first + count, size - count);
  free_count_ -= count;
  return first;
}

void extent_allocator::give(uint64_t first, uint64_t count) {
  free_count_ += count;
  if (mixed_) return join(first, count);
  CUBBY_ASSERT(count == run_count_);
  if (recent_runs_ == recent_max) settle();
  recent_[recent_runs_++] = first;
}

/// What was given of late becomes holes.
void extent_allocator::settle() {
  while (recent_runs_ != 0) join(recent_[--recent_runs_], run_count_);
}

void extent_allocator::join(uint64_t first, uint64_t count) {
  const uint64_t start = block_start(first);
  const uint64_t end = block_end(first);
  CUBBY_ASSERT(first + count <= end);
  --taken_runs_;
  const auto after = holes_.lower_bound(first);
  CUBBY_ASSERT(after == holes_.end() || after->first >= first + count);  // nothing is given twice
  uint64_t joined_first = first;
  uint64_t joined_end = first + count;
  if (after != holes_.begin()) {
    const auto before = std::prev(after);
    CUBBY_ASSERT(before->first + before->second <= first);
    if (before->first >= start && before->first + before->second == first) {
      joined_first = before->first;
      erase(before);
    }
  }
  if (after != holes_.end() && after->first == joined_end && after->first < end) {
    joined_end += after->second;
    erase(after);
  }
  insert(joined_first, joined_end - joined_first);
}

bool extent_allocator::fits(uint64_t count) {
  if (recent_runs_ != 0 && run_count_ >= count) return true;
  settle();
  return by_size_.lower_bound({count, 0}) != by_size_.end();
}

bool extent_allocator::would_fit(uint64_t first, uint64_t size, uint64_t count) {
  if (size >= count) return true;
  settle();
  const uint64_t start = block_start(first);
  const uint64_t end = block_end(first);
  uint64_t joined = size;
  const auto after = holes_.lower_bound(first);
  if (after != holes_.end() && after->first == first + size && after->first < end) {
    joined += after->second;
  }
  if (after != holes_.begin()) {
    const auto before = std::prev(after);
    if (before->first >= start && before->first + before->second == first) joined += before->second;
  }
  return joined >= count;
}

}  // namespace cubby::tier
