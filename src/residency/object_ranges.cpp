#include "residency/object_ranges.hpp"

#include <algorithm>

namespace cubby::residency {

std::optional<uint32_t> object_ranges::take(uint32_t count, uint32_t limit) {
  const auto hole = std::find_if(free_.begin(), free_.end(),
                                 [&](const range &one) { return one.count >= count; });
  if (hole != free_.end()) {
    const uint32_t base = hole->base;
    hole->base += count;
    hole->count -= count;
    if (hole->count == 0) free_.erase(hole);
    return base;
  }
  if (uint64_t{end_} + count >= limit) return std::nullopt;
  const uint32_t base = end_;
  end_ += count;
  return base;
}

void object_ranges::give(uint32_t base, uint32_t count) noexcept {
  const auto after =
      std::find_if(free_.begin(), free_.end(), [&](const range &one) { return one.base > base; });
  if (base + count == end_) {  // and what was free before it
    const bool joins = !free_.empty() && free_.back().base + free_.back().count == base;
    end_ = joins ? free_.back().base : base;
    if (joins) free_.pop_back();
    return;
  }
  const bool joins_after = after != free_.end() && after->base == base + count;
  if (after != free_.begin()) {
    range &before = *std::prev(after);
    if (before.base + before.count == base) {
      before.count += count;
      if (!joins_after) return;
      before.count += after->count;
      free_.erase(after);
      return;
    }
  }
  if (joins_after) {
    after->base = base;
    after->count += count;
    return;
  }
  free_.insert(after, {base, count});
}

}  // namespace cubby::residency
