// Puts and gets in host memory beside memcpy there and back.
#include <algorithm>
#include <cstring>

#include "cli/bench/kv.hpp"
#include "cli/bench/kv_bank.hpp"
#include "cli/bench/kv_sides.hpp"

namespace cubby_cli::bench {
namespace {

constexpr double goal = 0.85;

class memory_copies {
 public:
  explicit memory_copies(uint64_t set_bytes)
      : count_(static_cast<uint32_t>(std::max<uint64_t>(1, set_bytes / 4 / usual_block_bytes))),
        from_(count_ * usual_block_bytes),
        into_(count_ * usual_block_bytes),
        between_(count_ * usual_block_bytes) {}

  done open(uint32_t pump) {
    if (from_.data() == nullptr || into_.data() == nullptr || between_.data() == nullptr) {
      return system_trouble("memory for blocks", ENOMEM);
    }
    for (uint32_t i = 0; i < count_; i++) write_content(from_.data() + at(i), usual_block_bytes, i);
    kv_shape shape;
    shape.block_bytes = usual_block_bytes;
    shape.columns = count_;
    shape.host_bytes = (usual_block_bytes + 4096) * (count_ + 1ull);
    shape.pump = pump;
    return bank_.open(shape);
  }

  outcome<sample> ours(uint32_t round) {
    std::vector<kv_key> keys;
    for (uint32_t i = 0; i < count_; i++) keys.push_back({round, i});
    kv_stream puts(bank_, {64, 1}, kv_stream::verb::put),
        gets(bank_, {64, 1}, kv_stream::verb::get);
    std::memset(into_.data(), 0, into_.bytes());
    const auto span = [&](const huge_buffer &of) {
      return [&of](uint32_t, size_t i) {
        return cubby_span{0, 0, reinterpret_cast<uintptr_t>(of.data() + at(i)), usual_block_bytes};
      };
    };
    const stopwatch watch;
    if (auto put = puts.run(keys, span(from_)); !put) return put.failure();
    if (auto got = gets.run(keys, span(into_)); !got) return got.failure();
    const sample took = watch.stop(2 * into_.bytes());
    for (uint32_t i = 0; i < count_; i++) {
      if (!has_content(into_.data() + at(i), usual_block_bytes, i)) return trouble{"wrong bytes"};
    }
    if (auto dropped = bank_.drop(round, 0, count_); !dropped) return dropped.failure();
    return took;
  }

  outcome<sample> plain() {
    const stopwatch watch;
    for (uint32_t i = 0; i < count_; i++) {
      std::memcpy(between_.data() + at(i), from_.data() + at(i), usual_block_bytes);
    }
    for (uint32_t i = 0; i < count_; i++) {
      std::memcpy(into_.data() + at(i), between_.data() + at(i), usual_block_bytes);
    }
    return watch.stop(2 * into_.bytes());
  }

 private:
  static uint64_t at(uint64_t i) { return i * usual_block_bytes; }

  const uint32_t count_;
  huge_buffer from_, into_, between_;
  kv_bank bank_;
};

}  // namespace

done kv_memory_row(const kv_plan &plan, nlohmann::json &rows, progress_line &line) {
  memory_copies copies(plan.set_bytes);
  if (auto opened = copies.open(plan.pump); !opened) return opened;
  kv_side ours{"cubby", [&](uint32_t round) { return copies.ours(round); }, {}};
  kv_side plain{"memcpy", [&](uint32_t) { return copies.plain(); }, {}};
  if (auto measured = take_turns({&ours, &plain}, 1, plan.rounds, "blocks in memory", line);
      !measured) {
    return measured;
  }
  rows.push_back(compared_row("put and get in memory", usual_block_bytes, ours, plain, goal));
  return nothing{};
}

}  // namespace cubby_cli::bench
