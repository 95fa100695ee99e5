// Which runs of a tier's memory are free. Best fit over extents that join with their neighbours:
// lockers of a model come in two or three sizes, so holes are nearly always taken whole again.
// While all runs have one size, none can lie badly: the last ones given are handed out again as
// they are, and become holes only when something else is asked for.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/room.hpp"

namespace cubby::tier {

/// In units of the caller's choice (pages, slots). One at a time.
class extent_allocator {
 public:
  /// Makes [first, first + count) known as free. Blocks never join with each other.
  void add_block(uint64_t first, uint64_t count);
  /// Forgets a block when all of it is free; false when some of it is taken.
  bool remove_block(uint64_t first);

  /// The first unit of a run of `count`, from the smallest hole that holds it; nothing when none
  /// does.
  /// May throw, and then nothing has changed.
  std::optional<uint64_t> take(uint64_t count);
  /// Takes no memory: what may be needed for the hole was taken by take().
  void give(uint64_t first, uint64_t count);

  /// Would there be a hole of `count` if the run [first, first + size) were free?
  [[nodiscard]] bool would_fit(uint64_t first, uint64_t size, uint64_t count);
  [[nodiscard]] bool fits(uint64_t count);
  [[nodiscard]] uint64_t free_count() const { return free_count_; }

 private:
  [[nodiscard]] uint64_t block_end(uint64_t unit) const;
  [[nodiscard]] uint64_t block_start(uint64_t unit) const;
  void insert(uint64_t first, uint64_t count);
  void erase(std::map<uint64_t, uint64_t>::iterator hole) noexcept;
  void own_nodes(size_t count);
  void join(uint64_t first, uint64_t count);
  void settle();

  std::map<uint64_t, uint64_t> blocks_;              // first → count
  std::map<uint64_t, uint64_t> holes_;               // first → count
  std::set<std::pair<uint64_t, uint64_t>> by_size_;  // (count, first)
  base::node_pool<std::map<uint64_t, uint64_t>> spare_holes_;
  base::node_pool<std::set<std::pair<uint64_t, uint64_t>>> spare_sizes_;
  size_t taken_runs_ = 0;  // with the recent ones
  static constexpr size_t recent_max = 16;
  std::array<uint64_t, recent_max> recent_;  // first units of runs that are free but no holes yet
  size_t recent_runs_ = 0;
  uint64_t run_count_ = 0;  // units of every run so far
  bool mixed_ = false;      // runs of two sizes were taken: from here on all go through the holes
  uint64_t free_count_ = 0;
};

}  // namespace cubby::tier
