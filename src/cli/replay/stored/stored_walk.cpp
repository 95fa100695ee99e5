#include "cli/replay/stored/stored_walk.hpp"

#include <algorithm>

namespace cubby_cli::replay {

done stored_walk::begin() {
  const auto there = cache_.find_all();
  if (!there) return there.failure();
  was_there_.assign(of_.unique, false);
  for (const uint32_t block : *there) was_there_[block] = true;
  found_.found_at_open = there->size();
  return nothing{};
}

done stored_walk::play(uint64_t request) {
  const kv_request &one = of_.requests[request];
  const auto blocks = of_.blocks.subspan(one.first_block, one.block_count);
  const auto usable = cache_.match(blocks, states_);
  if (!usable) return usable.failure();
  found_.usable += *usable;
  const auto in_memory = std::find_if(states_.begin(), states_.end(),
                                      [](uint8_t state) { return state < CUBBY_STATE_HOST; });
  found_.hits += static_cast<uint64_t>(in_memory - states_.begin());
  for (size_t n = 0; n < blocks.size(); ++n) {
    if (auto used = use(blocks, head_first_ ? n : blocks.size() - 1 - n); !used) return used;
  }
  return nothing{};
}

done stored_walk::use(std::span<const uint32_t> blocks, size_t i) {
  const uint32_t block = blocks[i];
  // Where it is now: those of the request that came before may have taken its room.
  if (const auto now = cache_.match(blocks.subspan(i, 1), states_); !now) return now.failure();
  const bool in_memory = states_.front() >= CUBBY_STATE_HOST;
  const uint64_t start_ns = clock_ns(), own_ns = found_.checked.took_ns;
  const auto got = cache_.get(block, 0, found_.checked);
  if (!got) return got.failure();
  const uint64_t took_ns = clock_ns() - start_ns - (found_.checked.took_ns - own_ns);
  if (*got) {
    ++(in_memory ? found_.memory_count : found_.disk_count);
    (in_memory ? found_.memory_ns : found_.disk_ns) += took_ns;
    return nothing{};
  }
  ++found_.put_count;
  if (was_there_[block]) ++found_.put_again_count;
  was_there_[block] = true;
  cache_.make(block, found_.checked);
  const uint64_t put_start_ns = clock_ns();
  auto put = cache_.put_made(block, i == 0 ? nullptr : &blocks[i - 1]);
  found_.put_ns += took_ns + clock_ns() - put_start_ns;
  return put;
}

outcome<stored_run> stored_walk::finish() {
  const auto host = cache_.host_stats(), disk = cache_.disk_stats();
  if (!host || !disk) return host ? disk.failure() : host.failure();
  found_.read_bytes = disk->demand_bytes;
  found_.evictions = host->evict_count;
  return found_;
}

}  // namespace cubby_cli::replay
