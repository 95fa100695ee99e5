// Gets of blocks that are on disk alone, into memory as a computation has it, beside bare reads of
// the same size, and beside the same without digests.
#include <algorithm>
#include <filesystem>

#include "cli/bench/blocks.hpp"
#include "cli/bench/kv.hpp"
#include "cli/bench/kv_bank.hpp"
#include "cli/bench/kv_sides.hpp"

namespace cubby_cli::bench {
namespace {

/// A store that is passed over again and again, by a runtime with memory for an eighth of it.
class disk_gets {
 public:
  /// By way of the host tier; past it, into memory of many pieces; and into memory in a row.
  enum class way { by_memory, past_memory, in_a_row };
  done open(const kv_plan &plan, uint64_t block_bytes, bool verified);
  /// Every block once that is on disk alone, in a random order.
  outcome<sample> run(uint32_t round, way which);
  [[nodiscard]] uint32_t in_flight() const { return stream_.slots(); }

 private:
  done check_slots(const kv_tensor &in, const std::vector<uint32_t> &last) const;
  done check_reads(const cubby_tier_stats &before, uint64_t count) const;

  uint64_t block_bytes_ = 0;
  uint32_t count_ = 0;
  kv_stream::shape stream_;
  std::unique_ptr<kv_tensor> layers_, row_;
  kv_bank bank_;  // first to end: its reads go to the tensors
};

done disk_gets::open(const kv_plan &plan, uint64_t block_bytes, bool verified) {
  block_bytes_ = block_bytes;
  count_ = static_cast<uint32_t>(plan.set_bytes / block_bytes);
  kv_shape shape;
  shape.block_bytes = block_bytes;
  shape.columns = count_;
  shape.host_bytes = plan.set_bytes / 8;
  shape.directory = plan.directory + (verified ? "/verified" : "/unverified");
  shape.store_bytes = plan.set_bytes + plan.set_bytes / 8 + (uint64_t{16} << 20);
  shape.verified = verified;
  shape.pump = plan.pump;
  std::filesystem::create_directory(shape.directory);
  if (auto opened = bank_.open(shape); !opened) return opened;
  stream_ = kv_stream::fitting(shape, 64, 4);
  layers_ = std::make_unique<kv_tensor>(block_bytes, stream_.slots(), 32);
  row_ = std::make_unique<kv_tensor>(block_bytes, stream_.slots(), 1);
  for (kv_tensor *one : {layers_.get(), row_.get()}) {
    if (auto lent = one->lend_to(bank_); !lent) return lent;
  }
  return fill_store(bank_, count_);
}

outcome<sample> disk_gets::run(uint32_t round, way which) {
  auto numbers = bank_.on_disk_alone(0, count_);
  if (!numbers) return numbers.failure();
  const auto order = random_blocks(numbers->size(), numbers->size(), round + 1);
  std::vector<kv_key> keys;
  for (const uint32_t i : order) keys.push_back({0, (*numbers)[i]});
  const auto before = bank_.disk_stats();
  if (!before) return before.failure();
  std::vector<uint32_t> last(stream_.slots(), count_);
  const kv_tensor &into = which == way::in_a_row ? *row_ : *layers_;
  kv_stream gets(bank_, stream_, kv_stream::verb::get, 0,
                 which == way::by_memory ? 0 : CUBBY_BYPASS);
  const stopwatch watch;
  auto got = gets.run(keys, [&](uint32_t slot, size_t i) {
    last[slot] = static_cast<uint32_t>(keys[i].number);
    return into.span(slot);
  });
  const sample took = watch.stop(keys.size() * block_bytes_);
  if (got) got = check_slots(into, last);
  if (got) got = check_reads(*before, keys.size());
  if (!got) return got.failure();
  return took;
}

done disk_gets::check_slots(const kv_tensor &in, const std::vector<uint32_t> &last) const {
  for (uint32_t slot = 0; slot < last.size(); slot++) {
    if (last[slot] != count_ && !in.has_content(slot, last[slot])) {
      return trouble{"wrong bytes of block " + std::to_string(last[slot])};
    }
  }
  return nothing{};
}

/// What memory served would not be a figure of the disk.
done disk_gets::check_reads(const cubby_tier_stats &before, uint64_t count) const {
  const auto now = bank_.disk_stats();
  if (!now) return now.failure();
  if (now->read_count - before.read_count >= count) return nothing{};
  return trouble{std::to_string(count) + " blocks were got with " +
                 std::to_string(now->read_count - before.read_count) +
                 " reads; all of them were to come from the disk"};
}

outcome<kv_side> bare_reads(const kv_plan &plan, uint64_t block_bytes, uint32_t in_flight) {
  auto path = blocks_file(plan.directory, plan.set_bytes, true);
  if (!path) return path.failure();
  const layout file{*path, plan.set_bytes, block_bytes, block_bytes, 0};
  auto made = make_bare(file, in_flight);
  kv_side side{"io_uring", {}, {}};
  if (!made) {
    made = make_pread(file, in_flight);
    side.name = "pread";
  }
  if (!made) return made.failure();
  // As many as the other sides get: what their memory has is left out.
  const uint64_t count = std::max<uint64_t>(1, file.count() * 7 / 8);
  side.run = [by = std::shared_ptr<reader>(std::move(*made)), all = file.count(),
              count](uint32_t round) { return by->run(random_blocks(all, count, round + 1)); };
  return side;
}

/// One size of block; at 256 KiB without digests, too.
done measure_size(const kv_plan &plan, uint64_t block_bytes, double goal, nlohmann::json &rows,
                  progress_line &line) {
  const bool both = block_bytes == usual_block_bytes;
  disk_gets ours, trusting;
  if (auto opened = ours.open(plan, block_bytes, true); !opened) return opened;
  if (both) {
    if (auto opened = trusting.open(plan, block_bytes, false); !opened) return opened;
  }
  auto bare = bare_reads(plan, block_bytes, ours.in_flight());
  if (!bare) return bare.failure();
  using way = disk_gets::way;
  const auto side_of = [](disk_gets &of, const char *name, way which) {
    return kv_side{name, [&of, which](uint32_t round) { return of.run(round, which); }, {}};
  };
  kv_side by_memory = side_of(ours, "cubby", way::by_memory);
  kv_side past_memory = side_of(ours, "cubby", way::past_memory);
  kv_side in_a_row = side_of(ours, "cubby", way::in_a_row);
  kv_side off = side_of(trusting, "without digests", way::past_memory);
  std::vector<kv_side *> sides = {&by_memory, &past_memory, &in_a_row, &*bare};
  if (both) sides.push_back(&off);
  auto measured =
      take_turns(sides, 1, plan.rounds, bytes_text(block_bytes) + " blocks from disk", line);
  if (!measured) return measured;
  rows.push_back(compared_row("get from disk", block_bytes, by_memory, *bare, goal));
  rows.push_back(compared_row("get past memory", block_bytes, past_memory, *bare, goal));
  rows.push_back(compared_row("get past memory, in a row", block_bytes, in_a_row, *bare, goal));
  for (size_t i = rows.size() - 3; i < rows.size(); i++) {
    rows[i]["in_flight_count"] = ours.in_flight();
  }
  if (both) rows.push_back(compared_row("get with digests", block_bytes, past_memory, off, 0.98));
  return nothing{};
}

}  // namespace

done kv_get_rows(const kv_plan &plan, nlohmann::json &rows, progress_line &line) {
  const struct {
    uint64_t bytes;
    double goal;
  } sizes[] = {{64u << 10, 0.85}, {256u << 10, 0.92}, {2u << 20, 0.97}};
  for (const auto &size : sizes) {
    auto measured = measure_size(plan, size.bytes, size.goal, rows, line);
    for (const char *name : {"/verified", "/unverified"}) {
      std::error_code ignored;
      std::filesystem::remove_all(plan.directory + name, ignored);
    }
    if (!measured) return measured;
  }
  return nothing{};
}

}  // namespace cubby_cli::bench
