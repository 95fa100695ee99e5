#include "cli/characterize/pin_stream.hpp"

#include <algorithm>

#include "cli/bench/blocks.hpp"

namespace cubby_cli::characterize {
namespace {

/// The bank's tables grow with its lockers; what is read is random enough with so many.
constexpr uint64_t lockers_max = 65536;

trouble library_failed() { return trouble{"the library's path: " + last_error_text()}; }

}  // namespace

done pin_stream::open(const pin_place &of, uint32_t depth_max) {
  of_ = of;
  if (cubby_cq_add(of_.rt, depth_max, &queue_) != CUBBY_OK) return library_failed();
  slots_.resize(depth_max);
  order_ = bench::random_blocks(of_.count, of_.count, clock_ns());
  return nothing{};
}

done pin_stream::start(uint32_t block) {
  const uint32_t at = free_.back();
  cubby_item item{};
  item.id = CUBBY_ID(of_.bank, block);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_VISIT | CUBBY_BYPASS;
  how.user = at;
  how.cq = queue_;
  cubby_ticket ticket = 0;
  slot &to = slots_[at];
  to.start_ns = clock_ns();
  const cubby_status status =
      cubby_pin(of_.rt, &item, 1, of_.tier, &how, &to.pins, &to.address, &ticket);
  if (status == CUBBY_PENDING) {
    free_.pop_back();
    return nothing{};
  }
  if (status != CUBBY_OK) return library_failed();
  // Read before and not evicted yet: the runtime does that when it advances. Another one is read.
  cubby_unpin(of_.rt, to.pins, 0, 0, nullptr);
  cubby_poll(of_.rt, 0, nullptr);
  return nothing{};
}

done pin_stream::take(latencies &took, meter &watch) {
  cubby_done completed[64];
  if (cubby_cq_wait(queue_, -1) != CUBBY_OK) return library_failed();
  const uint32_t count = cubby_cq_take(queue_, completed, 64);
  for (uint32_t i = 0; i < count; i++) {
    const auto at = static_cast<uint32_t>(completed[i].user);
    took.add(clock_ns() - slots_[at].start_ns);
    if (completed[i].status != CUBBY_OK) return library_failed();
    if (cubby_unpin(of_.rt, slots_[at].pins, 0, 0, nullptr) != CUBBY_OK) return library_failed();
    free_.push_back(at);
  }
  if (count != 0) watch.ended(count * of_.block_bytes);
  return nothing{};
}

outcome<figures> pin_stream::run(uint32_t depth, double seconds, energy_source &energy) {
  latencies took;
  free_.clear();
  for (uint32_t i = 0; i < depth; i++) free_.push_back(i);
  uint64_t ended = 0;
  meter watch(energy, seconds);
  for (bool on = true; on || free_.size() < depth; on = on && !watch.over()) {
    while (on && !free_.empty()) {
      if (auto started = start(order_[next_++ % order_.size()]); !started) return started.failure();
    }
    const size_t free_before = free_.size();
    if (auto taken = take(took, watch); !taken) return taken.failure();
    ended += free_.size() - free_before;
  }
  return watch.stop(ended * of_.block_bytes, took);
}

done library_reads::open(const std::string &path, uint64_t file_bytes, uint64_t block_bytes,
                         uint32_t depth_max) {
  const uint64_t count = std::min(file_bytes / block_bytes, lockers_max);
  // Twice what is in flight, or a block would be on its way already when its turn comes again.
  if (depth_max == 0 || count < 2ull * depth_max)
    return usage_trouble("the library's path was not measured with blocks of " +
                         bytes_text(block_bytes) + ": the file is too small; raise --size");
  // All over the file, so that the device has as far to go as with the bare loop.
  const uint64_t stride_bytes = file_bytes / count / block_bytes * block_bytes;
  const bench::layout file{path, count * stride_bytes, block_bytes, stride_bytes, 0};
  if (auto opened = blocks_.open(file, depth_max, true, CUBBY_PUMP_CALLER); !opened) return opened;
  return pins_.open({blocks_.rt(), blocks_.bank(), blocks_.tier(), block_bytes,
                     static_cast<uint32_t>(file.count())},
                    depth_max);
}

}  // namespace cubby_cli::characterize
