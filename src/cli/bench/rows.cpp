#include "cli/bench/rows.hpp"

#include <fcntl.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <fstream>
#include <iostream>

#include "cli/bench/blocks.hpp"
#include "cli/bench/compare.hpp"
#include "cli/bench/table_readers.hpp"
#include "cli/model/weights.hpp"

namespace cubby_cli::bench {
namespace {

using nlohmann::json;

constexpr std::array<const char *, 4> names = {"cubby", "mmap", "mmap, random", "pread"};
constexpr size_t plain_mapping = 1, random_mapping = 2, plain_reads = 3;

/// What each way took, in microseconds.
struct times {
  std::vector<double> cold, warm, prompt;
};

/// Memory of this process that no file stands behind, but for what the rounds have freed.
uint64_t own_bytes() {
  ::malloc_trim(0);
  std::ifstream in("/proc/self/status");
  uint64_t sum = 0, kib = 0;
  for (std::string line, unit; std::getline(in, line);) {
    if (line.starts_with("RssAnon:") || line.starts_with("RssShmem:")) {
      kib = std::strtoull(line.c_str() + line.find(':') + 1, nullptr, 10);
      sum += kib << 10;
    }
  }
  return sum;
}

/// One read of a page past the page cache, the median of many.
outcome<double> read_latency_us(const rows_plan &plan) {
  constexpr uint32_t reads = 200, bytes = 4096;
  const int fd = ::open(plan.path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  if (fd < 0) return system_trouble(plan.path, errno);
  const huge_buffer memory(bytes);
  std::vector<double> us;
  ssize_t got = bytes;
  for (const uint32_t page : random_blocks(plan.file_bytes / bytes, reads, 5)) {
    const uint64_t start = clock_ns();
    got = ::pread(fd, memory.data(), bytes, static_cast<off_t>(uint64_t{page} * bytes));
    us.push_back(static_cast<double>(clock_ns() - start) / 1000);
    if (got != bytes) break;
  }
  ::close(fd);
  if (got != bytes) return system_trouble("pread of " + plan.path, got < 0 ? errno : EIO);
  return median(us);
}

class comparison {
 public:
  explicit comparison(const rows_plan &plan) : plan_(plan), random_(plan.file_bytes, 13) {}

  done open() {
    const uint64_t before = own_bytes();
    auto ours = std::make_unique<cubby_table>();
    if (auto opened = ours->open(plan_); !opened) return opened;
    ours_ = ours.get();
    before_bytes_ = before;
    auto mapped = map_table(plan_, MADV_NORMAL);
    if (!mapped) return mapped.failure();
    auto random = map_table(plan_, MADV_RANDOM);
    if (!random) return random.failure();
    auto read = pread_table(plan_);
    if (!read) return read.failure();
    readers_ = {std::move(ours), std::move(*mapped), std::move(*random), std::move(*read)};
    return nothing{};
  }

  done round(uint32_t number) {
    if (auto token = one(number, plan_.count, true); !token) return token;
    return number % 10 == 0 ? one(number, plan_.prompt_count, false) : done(nothing{});
  }

  [[nodiscard]] json report(double latency_us) const {
    json results = json::array();
    for (size_t way = 0; way < names.size(); way++) {
      const times &of = times_[way];
      results.push_back({{"name", names[way]},
                         {"warm_p50_us", median(of.warm)},
                         {"warm_p99_us", quantile(of.warm, 0.99)},
                         {"cold_p50_us", median(of.cold)},
                         {"cold_p99_us", quantile(of.cold, 0.99)},
                         {"prompt_p50_us", median(of.prompt)}});
    }
    const uint64_t now = own_bytes(), grown = now - std::min(now, before_bytes_);
    return {{"table_bytes", plan_.file_bytes},
            {"row_bytes", plan_.row_bytes},
            {"page_bytes", plan_.page_bytes},
            {"row_count", plan_.count},
            {"prompt_row_count", plan_.prompt_count},
            {"rounds", plan_.rounds},
            {"pump", plan_.pump == CUBBY_PUMP_CALLER ? "caller" : "thread"},
            {"read_latency_us", latency_us},
            {"results", std::move(results)},
            {"mmap_to_cubby_prompt", prompt_ratio(plain_mapping)},
            {"random_mmap_to_cubby_prompt", prompt_ratio(random_mapping)},
            {"memory",
             {{"budget_bytes", ours_->budget_bytes()},
              {"tables_bytes", ours_->table_bytes()},
              {"grown_bytes", grown},
              {"share", static_cast<double>(grown) / static_cast<double>(plan_.file_bytes)}}}};
  }

 private:
  [[nodiscard]] json prompt_ratio(size_t way) const {
    return interval(ratios(times_[way].prompt, times_[0].prompt));
  }
  /// The same rows each way, cold and, of a token's, warm; another way begins each time.
  done one(uint32_t number, uint32_t count, bool token) {
    std::array<row_order, names.size()> orders;
    orders[0].rows.resize(count);
    const uint64_t rows = plan_.file_bytes / plan_.row_bytes;
    for (uint64_t &row : orders[0].rows) row = random_.below(static_cast<uint32_t>(rows));
    for (row_order &order : orders) {
      order.rows = orders[0].rows;
      order.into.resize(uint64_t{count} * plan_.row_bytes);
    }
    for (size_t i = 0; i < names.size(); i++) {
      const size_t way = (i + number) % names.size();
      table_reader &by = *readers_[way];
      // What is mapped stays in the page cache, where pread would find it.
      for (const size_t mapping : {plain_mapping, random_mapping}) {
        if (auto forgot = readers_[mapping]->forget(orders[way]); !forgot) return forgot;
      }
      if (auto forgot = by.forget(orders[way]); !forgot) return forgot;
      times &to = times_[way];
      if (auto cold = timed(by, orders[way], token ? to.cold : to.prompt); !cold) return cold;
      if (!token) continue;
      if (auto warm = timed(by, orders[way], to.warm); !warm) return warm;
    }
    for (const row_order &order : orders) {
      if (order.into != orders[plain_reads].into)
        return trouble{"rows have other bytes than those by pread"};
    }
    return nothing{};
  }
  static done timed(table_reader &by, row_order &order, std::vector<double> &us) {
    const uint64_t start = clock_ns();
    auto looked = by.look_up(order);
    us.push_back(static_cast<double>(clock_ns() - start) / 1000);
    return looked;
  }

  const rows_plan plan_;
  model::random_stream random_;
  std::array<std::unique_ptr<table_reader>, names.size()> readers_;
  std::array<times, names.size()> times_;
  const cubby_table *ours_ = nullptr;
  uint64_t before_bytes_ = 0;
};

}  // namespace

outcome<json> row_lookups(const rows_plan &plan, progress_line &line) {
  const auto latency = read_latency_us(plan);
  if (!latency) return latency.failure();
  comparison all(plan);
  if (auto opened = all.open(); !opened) return opened.failure();
  for (uint32_t round = 0; round < plan.rounds; round++) {
    if (auto measured = all.round(round); !measured) return measured.failure();
    if (line.due()) {
      line.show("round " + std::to_string(round) + " of " + std::to_string(plan.rounds));
    }
  }
  return all.report(*latency);
}

void print_row_lookups(const json &report) {
  const auto text = [](const json &one, const char *name) { return fixed_text(one[name]); };
  std::vector<std::vector<std::string>> table = {
      {"way", "warm us", "p99", "cold us", "p99", "prompt us"}};
  for (const json &one : report["results"]) {
    table.push_back({one["name"], text(one, "warm_p50_us"), text(one, "warm_p99_us"),
                     text(one, "cold_p50_us"), text(one, "cold_p99_us"),
                     text(one, "prompt_p50_us")});
  }
  print_table(table);
  const json &memory = report["memory"];
  std::cout << "one read of 4 KiB takes " << text(report, "read_latency_us")
            << " us; memory of the library: " << bytes_text(memory["grown_bytes"]) << ", "
            << percent_text(memory["share"]) << " of the table; prompt: mmap takes "
            << text(report["mmap_to_cubby_prompt"], "median") << " x as long, with MADV_RANDOM "
            << text(report["random_mmap_to_cubby_prompt"], "median") << " x\n";
}

}  // namespace cubby_cli::bench
