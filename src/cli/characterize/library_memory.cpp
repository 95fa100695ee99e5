#include "cli/characterize/library_memory.hpp"

#include <algorithm>

#include "cli/model/weights.hpp"

namespace cubby_cli::characterize {

library_memory::library_memory(uint64_t block_bytes, uint64_t set_bytes)
    : block_bytes_(block_bytes),
      count_(static_cast<uint32_t>(std::max<uint64_t>(2, set_bytes / block_bytes))),
      slots_(count_),
      memory_(slots_ * block_bytes) {}

done library_memory::open() {
  if (memory_.data() == nullptr) return system_trouble("memory for blocks", ENOMEM);
  bench::kv_shape shape;
  shape.block_bytes = block_bytes_;
  shape.columns = count_;
  shape.host_bytes = (block_bytes_ + 4096) * (count_ + 1ull);
  shape.pump = CUBBY_PUMP_CALLER;
  shape.space = "characterize";
  if (auto opened = bank_.open(shape); !opened) return opened;
  std::vector<bench::kv_key> keys;
  for (uint32_t i = 0; i < count_; i++) keys.push_back({0, i});
  bench::kv_stream puts(bank_, {std::min(count_, 64u), 1}, bench::kv_stream::verb::put);
  return puts.run(keys, [&](uint32_t, size_t i) {
    return cubby_span{0, 0, reinterpret_cast<uintptr_t>(memory_.data() + i * block_bytes_),
                      block_bytes_};
  });
}

outcome<figures> library_memory::run(double seconds, energy_counters &energy) {
  model::random_stream dice(count_, 23);
  latencies took;
  uint64_t bytes = 0;
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = CUBBY_NO_VISIT;
  meter watch(energy, seconds);
  do {
    const bench::kv_key key = {0, dice.below(count_)};
    const cubby_span into = {
        0, 0, reinterpret_cast<uintptr_t>(memory_.data() + dice.below(slots_) * block_bytes_),
        block_bytes_};
    const cubby_item item = bank_.item(key, &into);
    const uint64_t start = clock_ns();
    if (cubby_get(bank_.rt(), &item, 1, &how, nullptr) != CUBBY_OK)
      return trouble{"the library's gets from memory: " + last_error_text()};
    took.add(clock_ns() - start);
    bytes += block_bytes_;
    watch.ended(block_bytes_);
  } while (!watch.over());
  return watch.stop(bytes, took);
}

}  // namespace cubby_cli::characterize
