// A run of consecutive chunks of one part of one locker: what is read, copied and verified by one
// I/O.
#pragma once

#include <algorithm>

#include "base/checked.hpp"
#include "engine/names.hpp"
#include "engine/tiers.hpp"
#include "store/chunks.hpp"
#include "tier/memory_tier.hpp"

namespace cubby::engine {

struct chunk_run {
  uint32_t part = 0, first_chunk = 0, chunk_count = 0;
  uint32_t file = 0;                               // of the bank's files
  bool last = false;                               // of the part
  uint64_t first_bytes = 0;                        // of the first chunk
  uint64_t behind_bytes = 0;                       // the part's begin
  uint64_t offset_bytes = 0, bytes = 0;            // in the file: what is wanted
  uint64_t read_offset_bytes = 0, read_bytes = 0;  // the whole pages around it
  /// How many bytes must have come for all that is wanted to be there.
  [[nodiscard]] uint64_t needed_bytes() const { return offset_bytes + bytes - read_offset_bytes; }
};

[[nodiscard]] inline uint32_t chunks_of_part(const locker_bank &bank, uint32_t number,
                                             uint32_t part) {
  const part_extent here = bank.extent(number, part);
  return store::chunk_count(here.offset_bytes, here.bytes, bank.grid().chunk_bytes());
}

/// At most `count_max` chunks of the part, from `first_chunk` on.
[[nodiscard]] inline chunk_run cut_run(const locker_bank &bank, uint32_t number, uint32_t part,
                                       uint32_t first_chunk, uint32_t count_max) {
  const part_extent here = bank.extent(number, part);
  const uint32_t chunks =
      store::chunk_count(here.offset_bytes, here.bytes, bank.grid().chunk_bytes());
  chunk_run run;
  run.part = part;
  run.file = here.file;
  run.first_chunk = first_chunk;
  run.chunk_count = std::min(count_max, chunks - first_chunk);
  run.last = first_chunk + run.chunk_count == chunks;
  store::chunk_range all{here.offset_bytes, here.bytes};
  if (run.chunk_count != chunks) {
    all = store::chunks_at(here.offset_bytes, here.bytes, bank.grid().chunk_bytes(), first_chunk,
                           run.chunk_count);
  }
  run.offset_bytes = all.offset_bytes;
  run.bytes = all.bytes;
  run.first_bytes = all.bytes;
  if (run.chunk_count != 1) {
    run.first_bytes =
        store::chunk_at(here.offset_bytes, here.bytes, bank.grid().chunk_bytes(), first_chunk)
            .bytes;
  }
  run.behind_bytes = all.offset_bytes - here.offset_bytes;
  run.read_offset_bytes = base::align_down(run.offset_bytes, tier::frame_align_bytes);
  run.read_bytes =
      base::align_up(run.offset_bytes + run.bytes, tier::frame_align_bytes) - run.read_offset_bytes;
  return run;
}

/// Is the tier's budget as large as the locker's frame?
[[nodiscard]] inline bool may_ever_hold(const tier_set &tiers, const locker_bank &bank,
                                        uint32_t number, uint32_t tier) {
  const tier::memory_tier &memory = *tiers[tier].memory;
  return memory.cost_bytes(bank.frame_bytes_in(tier, number)) <= memory.budget_bytes();
}

/// Can a file's pages be read into a frame of the tier as they are?
[[nodiscard]] inline bool reads_in_place(const tier_set &tiers, const locker_bank &bank,
                                         uint32_t tier) {
  if (bank.layout(tier) == frame_layout::skewed) return true;
  // A stored block begins with a page, and so does a frame of the library's own memory.
  return bank.blocks != nullptr && bank.part_count() == 1 &&
         bank.layout(tier) == frame_layout::packed && tier::is_direct(*tiers[tier].memory);
}
/// Where a part begins behind a stored block's first byte.
[[nodiscard]] inline uint64_t stored_part_offset(const locker_bank &bank, uint32_t part) {
  uint64_t behind = 0;
  for (uint32_t p = 0; p < part; ++p) behind += bank.part_bytes(0, p);
  return behind;
}

/// Calls each(chunk, bytes of the chunk behind the run's first byte, size) in their order, until
/// one says false; returns whether all said true.
template <class Each>
bool each_chunk(const locker_bank &bank, uint32_t number, const chunk_run &run, const Each &each) {
  const part_extent here = bank.extent(number, run.part);
  for (uint32_t i = 0; i < run.chunk_count; ++i) {
    const uint32_t chunk = run.first_chunk + i;
    const auto range =
        store::chunk_at(here.offset_bytes, here.bytes, bank.grid().chunk_bytes(), chunk);
    if (!each(chunk, range.offset_bytes - run.offset_bytes, range.bytes)) return false;
  }
  return true;
}

}  // namespace cubby::engine
