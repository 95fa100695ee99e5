// Puts that outlive the process, one batch after the other, beside bare writes of the same bytes.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <thread>

#include "cli/bench/kv.hpp"
#include "cli/bench/kv_bank.hpp"
#include "cli/bench/kv_sides.hpp"

namespace cubby_cli::bench {
namespace {

/// Gets of a check are demand, and beside demand and for 10 ms after it the library writes little
/// at a time. Both sides rest before a round, so that both find a device at rest.
void rest() { std::this_thread::sleep_for(std::chrono::milliseconds(20)); }

class disk_puts {
 public:
  explicit disk_puts(const kv_plan &plan)
      : count_(
            static_cast<uint32_t>(std::max<uint64_t>(8, plan.set_bytes / 2 / usual_block_bytes))),
        content_(count_ * usual_block_bytes) {}
  done open(const kv_plan &plan);
  outcome<sample> ours(uint8_t keep, uint32_t flags);
  outcome<sample> bare(bool durable);
  [[nodiscard]] const char *bare_name() const { return writer_.name(); }

 private:
  done check_and_drop(uint64_t series);

  const uint32_t count_;
  huge_buffer content_;
  kv_bank bank_;
  kv_stream::shape stream_;
  bare_writer writer_;
  uint64_t series_ = 0;
};

done disk_puts::open(const kv_plan &plan) {
  if (content_.data() == nullptr) return system_trouble("memory for blocks", ENOMEM);
  for (uint32_t i = 0; i < count_; i++) {
    write_content(content_.data() + i * usual_block_bytes, usual_block_bytes, i);
  }
  kv_shape shape;
  shape.block_bytes = usual_block_bytes;
  shape.columns = 2 * count_;
  shape.host_bytes = std::max<uint64_t>(plan.set_bytes / 8, 4 * usual_block_bytes);
  shape.directory = plan.directory + "/puts";
  shape.store_bytes = content_.bytes() + content_.bytes() / 4 + (uint64_t{32} << 20);
  shape.pump = plan.pump;
  std::filesystem::create_directory(shape.directory);
  if (auto opened = bank_.open(shape); !opened) return opened;
  stream_ = kv_stream::fitting(shape, 64, 2);
  return writer_.open(shape.directory + "/bare", content_.bytes());
}

outcome<sample> disk_puts::ours(uint8_t keep, uint32_t flags) {
  const uint64_t series = series_++;
  std::vector<kv_key> keys;
  for (uint32_t i = 0; i < count_; i++) keys.push_back({series, i});
  kv_stream puts(bank_, stream_, kv_stream::verb::put, keep, flags);
  rest();
  const stopwatch watch;
  auto put = puts.run(keys, [&](uint32_t, size_t i) {
    return cubby_span{0, 0, reinterpret_cast<uintptr_t>(content_.data() + i * usual_block_bytes),
                      usual_block_bytes};
  });
  const sample took = watch.stop(content_.bytes());
  if (put) put = check_and_drop(series);
  if (!put) return put.failure();
  return took;
}

/// Also makes room for the next round.
done disk_puts::check_and_drop(uint64_t series) {
  std::vector<uint64_t> into(usual_block_bytes / 8);
  const cubby_span span{0, 0, reinterpret_cast<uintptr_t>(into.data()), usual_block_bytes};
  for (uint32_t i = 0; i < count_; i += std::max(1u, count_ / 32)) {
    const kv_key key{series, i};
    const cubby_item one = bank_.item(key, &span);
    if (cubby_get(bank_.rt(), &one, 1, nullptr, nullptr) != CUBBY_OK) {
      return trouble{"block " + std::to_string(i) + " was put and cannot be got"};
    }
    if (!has_content(into.data(), usual_block_bytes, i)) {
      return trouble{"wrong bytes of block " + std::to_string(i)};
    }
  }
  if (auto dropped = bank_.drop(series, 0, count_); !dropped) return dropped;
  if (cubby_drain(bank_.rt(), -1) != CUBBY_OK) return last_trouble();
  return nothing{};
}

outcome<sample> disk_puts::bare(bool durable) {
  const uint64_t batch_bytes = stream_.batch_items * usual_block_bytes;
  rest();
  const stopwatch watch;
  for (uint64_t at = 0; at < content_.bytes(); at += batch_bytes) {
    const uint64_t bytes = std::min(batch_bytes, content_.bytes() - at);
    auto written = writer_.write(content_.data() + at, at, bytes);
    if (written && durable) written = writer_.flush();
    if (!written) return written.failure();
  }
  return watch.stop(content_.bytes());
}

}  // namespace

done kv_put_rows(const kv_plan &plan, nlohmann::json &rows, progress_line &line) {
  disk_puts puts(plan);
  if (auto opened = puts.open(plan); !opened) return opened;
  const struct {
    const char *row;
    uint8_t keep;
    uint32_t flags;
    double goal;
  } kinds[] = {{"put to outlive the process", CUBBY_KEEP_RESTART, 0, 0.95},
               {"put to outlive a power cut", CUBBY_KEEP_DURABLE, 0, 0.90},
               {"put to outlive the process, past memory", CUBBY_KEEP_RESTART, CUBBY_BYPASS, 0.95},
               {"put to outlive a power cut, past memory", CUBBY_KEEP_DURABLE, CUBBY_BYPASS, 0.90}};
  for (const auto &kind : kinds) {
    const bool durable = kind.keep == CUBBY_KEEP_DURABLE;
    kv_side ours{"cubby", [&](uint32_t) { return puts.ours(kind.keep, kind.flags); }, {}};
    kv_side bare{puts.bare_name(), [&](uint32_t) { return puts.bare(durable); }, {}};
    if (durable) bare.name += ", fdatasync a batch";
    // Two rounds, so that every page of the store and of the bare file has been written before.
    if (auto measured = take_turns({&ours, &bare}, 2, plan.rounds, kind.row, line); !measured) {
      return measured;
    }
    rows.push_back(compared_row(kind.row, usual_block_bytes, ours, bare, kind.goal));
  }
  return nothing{};
}

}  // namespace cubby_cli::bench
