// How long one get from disk takes while puts keep the device busy, and while nothing does.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <deque>
#include <filesystem>
#include <thread>

#include "cli/bench/blocks.hpp"
#include "cli/bench/kv.hpp"
#include "cli/bench/kv_bank.hpp"
#include "cli/bench/kv_sides.hpp"

namespace cubby_cli::bench {
namespace {

constexpr double goal_ratio_max = 2;
constexpr uint32_t written_blocks = 256;

/// Writes without end beside what another thread measures. `some` writes a little; bytes or
/// trouble.
class writing {
 public:
  explicit writing(std::function<outcome<uint64_t>()> some)
      : some_(std::move(some)), start_ns_(clock_ns()), thread_([this] { run(); }) {
    // What is measured begins once the device is busy.
    while (bytes_ == 0 && !stop_) ::usleep(1000);
  }
  ~writing() {
    if (thread_.joinable()) static_cast<void>(end());
  }
  /// Gigabytes a second.
  outcome<double> end() {
    stop_ = true;
    thread_.join();
    if (!failure_.empty()) return trouble{failure_};
    return static_cast<double>(bytes_) / static_cast<double>(clock_ns() - start_ns_);
  }

 private:
  void run() {
    while (!stop_) {
      const auto wrote = some_();
      if (wrote) {
        bytes_ += *wrote;
        continue;
      }
      failure_ = wrote.failure().text;
      stop_ = true;
    }
  }

  const std::function<outcome<uint64_t>()> some_;
  const uint64_t start_ns_;
  std::atomic<uint64_t> bytes_{0};
  std::atomic<bool> stop_{false};
  std::string failure_;
  std::thread thread_;  // last: it uses the others
};

class latencies {
 public:
  explicit latencies(const kv_plan &plan)
      : gets_(plan.latency_gets),
        content_(written_blocks * usual_block_bytes),
        into_(usual_block_bytes) {}
  ~latencies() {
    if (fd_ >= 0) ::close(fd_);
  }
  latencies(const latencies &) = delete;
  latencies &operator=(const latencies &) = delete;
  done open(const kv_plan &plan);

  outcome<double> get_p99_ns(uint32_t round);
  outcome<double> pread_p99_ns(uint32_t round);
  outcome<uint64_t> put_some();
  outcome<uint64_t> write_some();

 private:
  const uint32_t gets_;
  uint32_t count_ = 0;
  huge_buffer content_, into_;
  kv_bank bank_;
  kv_stream::shape stream_;
  uint64_t series_ = 0;
  std::deque<uint64_t> put_;  // series that are there, oldest first
  bare_writer writer_;
  uint64_t write_at_ = 0;
  std::string path_;
  uint64_t file_bytes_ = 0;
  int fd_ = -1;
};

done latencies::open(const kv_plan &plan) {
  if (content_.data() == nullptr || into_.data() == nullptr) {
    return system_trouble("memory for blocks", ENOMEM);
  }
  for (uint32_t i = 0; i < written_blocks; i++) {
    write_content(content_.data() + i * usual_block_bytes, usual_block_bytes, i);
  }
  kv_shape shape;
  shape.block_bytes = usual_block_bytes;
  count_ = static_cast<uint32_t>(plan.set_bytes / usual_block_bytes);
  shape.columns = count_ + 4 * written_blocks;
  shape.host_bytes = std::max<uint64_t>(plan.set_bytes / 8, 8 * usual_block_bytes);
  shape.directory = plan.directory + "/latency";
  shape.store_bytes = plan.set_bytes + 4 * content_.bytes();
  // Two threads ask, so somebody else has to advance the runtime for both.
  shape.pump = CUBBY_PUMP_THREAD;
  std::filesystem::create_directory(shape.directory);
  if (auto opened = bank_.open(shape); !opened) return opened;
  stream_ = kv_stream::fitting(shape, 64, 2);
  if (auto filled = fill_store(bank_, count_); !filled) return filled;
  if (auto opened = writer_.open(shape.directory + "/bare", content_.bytes()); !opened) {
    return opened;
  }
  auto path = blocks_file(plan.directory, plan.set_bytes, true);
  if (!path) return path.failure();
  path_ = *path;
  file_bytes_ = plan.set_bytes;
  fd_ = ::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (fd_ < 0) return system_trouble(path_, errno);
  return nothing{};
}

outcome<double> latencies::get_p99_ns(uint32_t round) {
  auto numbers = bank_.on_disk_alone(0, count_);
  if (!numbers) return numbers.failure();
  const cubby_span span{0, 0, reinterpret_cast<uintptr_t>(into_.data()), usual_block_bytes};
  std::vector<double> ns;
  for (const uint32_t i : random_blocks(numbers->size(), gets_, round + 1)) {
    const kv_key key{0, (*numbers)[i]};
    const cubby_item one = bank_.item(key, &span);
    const uint64_t start = clock_ns();
    const cubby_status status = cubby_get(bank_.rt(), &one, 1, nullptr, nullptr);
    ns.push_back(static_cast<double>(clock_ns() - start));
    if (status == CUBBY_MISS) return trouble{"a block was not there"};
    if (status != CUBBY_OK) return last_trouble();
    if (ns.size() % 8 == 0 && !has_content(into_.data(), usual_block_bytes, key.number)) {
      return trouble{"wrong bytes of block " + std::to_string(key.number)};
    }
  }
  return quantile(ns, 0.99);
}

outcome<double> latencies::pread_p99_ns(uint32_t round) {
  std::vector<double> ns;
  for (const uint32_t i : random_blocks(file_bytes_ / usual_block_bytes, gets_, round + 1)) {
    const uint64_t start = clock_ns();
    const ssize_t got =
        ::pread(fd_, into_.data(), usual_block_bytes, static_cast<off_t>(i * usual_block_bytes));
    ns.push_back(static_cast<double>(clock_ns() - start));
    if (got != static_cast<ssize_t>(usual_block_bytes)) {
      return system_trouble("pread of " + path_, got < 0 ? errno : EIO);
    }
  }
  return quantile(ns, 0.99);
}

/// The oldest go, so that the blocks that are got never have to.
outcome<uint64_t> latencies::put_some() {
  while (put_.size() >= 2) {
    if (auto gone = bank_.drop(put_.front(), 0, written_blocks); !gone) return gone.failure();
    put_.pop_front();
  }
  put_.push_back(++series_);
  std::vector<kv_key> keys;
  for (uint32_t i = 0; i < written_blocks; i++) keys.push_back({series_, i});
  kv_stream puts(bank_, stream_, kv_stream::verb::put, CUBBY_KEEP_RESTART);
  auto put = puts.run(keys, [&](uint32_t, size_t i) {
    return cubby_span{0, 0, reinterpret_cast<uintptr_t>(content_.data() + i * usual_block_bytes),
                      usual_block_bytes};
  });
  if (!put) return put.failure();
  return content_.bytes();
}

outcome<uint64_t> latencies::write_some() {
  if (auto wrote = writer_.write(content_.data(), 0, content_.bytes()); !wrote) {
    return wrote.failure();
  }
  return content_.bytes();
}

struct latency_figures {
  std::vector<double> alone_ns, busy_ns, busy_ratio, write_gb_per_s;
};

done measure_side(latency_figures &of, uint32_t round,
                  const std::function<outcome<double>(uint32_t)> &read,
                  const std::function<outcome<uint64_t>()> &write, bool counts) {
  const auto alone = read(2 * round);
  if (!alone) return alone.failure();
  writing beside(write);
  const auto busy = read(2 * round + 1);
  const auto speed = beside.end();
  if (!busy) return busy.failure();
  if (!speed) return speed.failure();
  if (!counts) return nothing{};
  of.alone_ns.push_back(*alone);
  of.busy_ns.push_back(*busy);
  of.busy_ratio.push_back(*busy / *alone);
  of.write_gb_per_s.push_back(*speed);
  return nothing{};
}

}  // namespace

done kv_latency_row(const kv_plan &plan, nlohmann::json &rows, progress_line &line) {
  latencies all(plan);
  if (auto opened = all.open(plan); !opened) return opened;
  latency_figures ours, plain;
  for (uint32_t round = 0; round <= plan.rounds; round++) {
    line.show("latency beside puts: round " + std::to_string(round));
    auto measured = measure_side(
        ours, round, [&](uint32_t r) { return all.get_p99_ns(r); }, [&] { return all.put_some(); },
        round != 0);
    if (!measured) return measured;
    measured = measure_side(
        plain, round, [&](uint32_t r) { return all.pread_p99_ns(r); },
        [&] { return all.write_some(); }, round != 0);
    if (!measured) return measured;
  }
  nlohmann::json ratio = interval(ours.busy_ratio);
  const bool met = ratio["median"].get<double>() <= goal_ratio_max;
  rows.push_back({{"row", "p99 of gets beside puts"},
                  {"block_bytes", usual_block_bytes},
                  {"get_count", plan.latency_gets},
                  {"alone_p99_ns", median(ours.alone_ns)},
                  {"busy_p99_ns", median(ours.busy_ns)},
                  {"busy_put_gb_per_s", median(ours.write_gb_per_s)},
                  {"ratio", std::move(ratio)},
                  {"goal_ratio_max", goal_ratio_max},
                  {"goal_met", met},
                  {"reference", "pread beside writes"},
                  {"reference_alone_p99_ns", median(plain.alone_ns)},
                  {"reference_busy_p99_ns", median(plain.busy_ns)},
                  {"reference_busy_write_gb_per_s", median(plain.write_gb_per_s)},
                  {"reference_ratio", interval(plain.busy_ratio)}});
  return nothing{};
}

}  // namespace cubby_cli::bench
