#include "store/durable/extent_map.hpp"

#include <algorithm>
#include <bit>

#include "base/assert.hpp"

namespace cubby::store {
namespace {
constexpr uint32_t not_known = ~0u;
}

extent_map::extent_map(uint64_t first, uint64_t end)
    : first_(first),
      end_(end),
      free_count_(end - first),
      cursor_(first),
      taken_(end / 64 + 1, 0),
      longest_(end / region_pages + 1, not_known) {
  CUBBY_ASSERT(first <= end);
}

bool extent_map::is_taken(uint64_t page) const noexcept {
  return (taken_[page / 64] >> (page % 64) & 1) != 0;
}

/// Free pages from here on, at most `wanted`.
uint64_t extent_map::run_from(uint64_t page, uint64_t wanted) const noexcept {
  const uint64_t stop = std::min(end_, page + wanted);
  for (uint64_t at = page; at < stop;) {
    const uint64_t rest = taken_[at / 64] >> (at % 64);
    if (rest != 0) return std::min(stop, at + static_cast<uint64_t>(std::countr_zero(rest))) - page;
    at += 64 - at % 64;
  }
  return stop - page;
}

uint64_t extent_map::next_free(uint64_t page, uint64_t end) const noexcept {
  while (page < end) {
    const uint64_t rest = ~taken_[page / 64] >> (page % 64);
    if (rest != 0) return std::min(end, page + static_cast<uint64_t>(std::countr_zero(rest)));
    page += 64 - page % 64;
  }
  return end;
}

/// A run that begins in [from, end); `longest` is what none that begins there exceeds.
std::optional<uint64_t> extent_map::find_in(uint64_t from, uint64_t end, uint64_t count,
                                            uint64_t &longest) const noexcept {
  for (uint64_t at = next_free(from, end); at < end;) {
    const uint64_t run = run_from(at, count);
    if (run == count) return at;
    longest = std::max(longest, run);
    at = next_free(at + run, end);
  }
  return std::nullopt;
}

std::optional<uint64_t> extent_map::take(uint64_t count) noexcept {
  CUBBY_ASSERT(count != 0 && count <= region_pages);
  if (count > free_count_) return std::nullopt;
  uint64_t ignored = 0;
  const uint64_t start = cursor_ / region_pages;
  std::optional<uint64_t> found =
      find_in(cursor_, std::min(end_, (start + 1) * region_pages), count, ignored);
  for (uint64_t i = 0; !found && i < longest_.size(); i++) {
    const uint64_t region = (start + 1 + i) % longest_.size();
    if (longest_[region] < count) continue;
    uint64_t longest = 0;
    found = find_in(std::max(first_, region * region_pages),
                    std::min(end_, (region + 1) * region_pages), count, longest);
    if (!found) longest_[region] = static_cast<uint32_t>(longest);
  }
  if (!found) return std::nullopt;
  set(*found, count, true);
  cursor_ = *found + count < end_ ? *found + count : first_;
  return found;
}

bool extent_map::take_at(uint64_t first, uint64_t count) noexcept {
  if (count == 0 || first < first_ || first > end_ || count > end_ - first) return false;
  if (run_from(first, count) != count) return false;
  set(first, count, true);
  return true;
}

void extent_map::give(uint64_t first, uint64_t count) noexcept {
  CUBBY_ASSERT(first >= first_ && first + count <= end_);
  CUBBY_ASSERT(is_taken(first) && is_taken(first + count - 1));
  set(first, count, false);
  const uint64_t region = first / region_pages;
  for (uint64_t i = region == 0 ? 0 : region - 1; i <= (first + count - 1) / region_pages; i++)
    longest_[i] = not_known;
  cursor_ = first;
}

void extent_map::set(uint64_t first, uint64_t count, bool taken) noexcept {
  free_count_ = taken ? free_count_ - count : free_count_ + count;
  for (uint64_t at = first; at < first + count;) {
    const uint64_t bits = std::min(64 - at % 64, first + count - at);
    const uint64_t mask = (bits == 64 ? ~0ull : (1ull << bits) - 1) << (at % 64);
    taken_[at / 64] = taken ? taken_[at / 64] | mask : taken_[at / 64] & ~mask;
    at += bits;
  }
}

uint64_t extent_map::memory_bytes() const noexcept {
  return taken_.capacity() * sizeof taken_[0] + longest_.capacity() * sizeof longest_[0];
}

}  // namespace cubby::store
