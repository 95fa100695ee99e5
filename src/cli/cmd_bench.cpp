// cubby bench: the library's own path beside bare loops and other people's, in turn, in one run.
#include <algorithm>
#include <iostream>

#include "cli/bench/blocks.hpp"
#include "cli/bench/miss.hpp"
#include "cli/bench/read.hpp"
#include "cli/commands.hpp"
#include "cli/support.hpp"

namespace cubby_cli {
namespace {

using nlohmann::json;
using namespace bench;

struct options {
  std::string dir = ".", blocks = "64k,256k,2m", against = "bare,fio,pread";
  uint32_t pairs = 21, rounds = 2000;
  uint64_t file_mib = 1024, sample_mib = 256;
  bool json = false;
  [[nodiscard]] bench::rounds wanted() const { return {pairs, sample_mib << 20}; }
};

int fail(const options &chosen, const trouble &failed) {
  return report_trouble("bench", failed, chosen.json);
}

std::vector<std::string> list_of(const std::string &text) {
  std::vector<std::string> parts;
  for (size_t at = 0; at <= text.size();) {
    const size_t end = std::min(text.find(',', at), text.size());
    if (end > at) parts.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return parts;
}

outcome<uint64_t> block_size(const std::string &text) {
  const double number = byte_count(text).value_or(0);
  const auto bytes = static_cast<uint64_t>(number);
  if (number > 64e6 || bytes % 4096 != 0 || bytes == 0) {
    return usage_trouble("a block is a multiple of 4k and at most 60m (64k, 256k, 2m), not " +
                         text);
  }
  return bytes;
}

int run_read(const options &chosen) {
  auto path = blocks_file(chosen.dir, chosen.file_mib << 20, chosen.json);
  if (!path) return fail(chosen, path.failure());
  json all = {{"dir", chosen.dir},
              {"file_bytes", chosen.file_mib << 20},
              {"pairs", chosen.pairs},
              {"results", json::array()},
              {"skipped", json::array()}};
  progress_line line(chosen.json);
  for (const std::string &text : list_of(chosen.blocks)) {
    auto bytes = block_size(text);
    if (!bytes) return fail(chosen, bytes.failure());
    const layout where{*path, chosen.file_mib << 20, *bytes, *bytes, 0};
    // All that is in flight at once, twice, or a read would find its block on its way already.
    if (where.count() < 2ull * depth_for(*bytes)) {
      return fail(chosen, usage_trouble("the file is too small for blocks of " + text +
                                        "; raise --file-mib"));
    }
    auto result =
        read_blocks(where, list_of(chosen.against), chosen.wanted(), all["skipped"], line);
    if (!result) return fail(chosen, result.failure());
    all["results"].push_back(*result);
  }
  if (chosen.json) {
    std::cout << all.dump() << "\n";
  } else {
    print_reads(all);
  }
  return exit_good;
}

/// Experts as gpt-oss has them: parts of 4,406,400 bytes, one after the other behind a header, and
/// the same at aligned places.
int run_extents(const options &chosen) {
  constexpr uint64_t part_bytes = 4'406'400, aligned_bytes = 4'407'296, header_bytes = 7136;
  auto path = blocks_file(chosen.dir, chosen.file_mib << 20, chosen.json);
  if (!path) return fail(chosen, path.failure());
  const layout aligned{*path, chosen.file_mib << 20, part_bytes, aligned_bytes, 0};
  const layout odd{*path, chosen.file_mib << 20, part_bytes, part_bytes, header_bytes};
  const uint32_t depth = depth_for(part_bytes);
  if (aligned.count() < 2ull * depth) {
    return fail(chosen, usage_trouble("the file is too small; raise --file-mib"));
  }
  std::vector<contender> all;
  for (const layout &where : {odd, aligned}) {
    auto made = make_cubby(where, depth, true);
    if (!made) return fail(chosen, made.failure());
    all.push_back({all.empty() ? "unaligned" : "aligned", std::move(*made), {}, {}});
  }
  progress_line line(chosen.json);
  if (auto good = measure(all, aligned, chosen.wanted(), line); !good)
    return fail(chosen, good.failure());
  const json ratio = interval(ratios(all[0].gb_per_s, all[1].gb_per_s));
  if (chosen.json) {
    std::cout << json{{"part_bytes", part_bytes},
                      {"pairs", chosen.pairs},
                      {"gb_per_s",
                       {{"unaligned", median(all[0].gb_per_s)},
                        {"aligned", median(all[1].gb_per_s)}}},
                      {"ratio", ratio}}
                     .dump()
              << "\n";
  } else {
    std::cout << "unaligned " << median(all[0].gb_per_s) << " GB/s, aligned "
              << median(all[1].gb_per_s) << " GB/s, ratio " << ratio["median"] << "\n";
  }
  return exit_good;
}

int run_miss(const options &chosen) {
  auto path = blocks_file(chosen.dir, chosen.file_mib << 20, chosen.json);
  if (!path) return fail(chosen, path.failure());
  const layout where{*path, chosen.file_mib << 20, 65536, 65536, 0};
  auto told = miss_latency(where, chosen.rounds);
  if (!told) return fail(chosen, told.failure());
  if (chosen.json) {
    std::cout << told->dump() << "\n";
    return exit_good;
  }
  std::vector<std::vector<std::string>> table = {{"way", "p50 us", "p99 us", "to pread (p50)"}};
  for (const json &one : (*told)["results"]) {
    const auto text = [&](const char *name, double scale) {
      return fixed_text(one[name].get<double>() / scale);
    };
    table.push_back({one["name"], text("p50_ns", 1000), text("p99_ns", 1000), text("ratio", 1)});
  }
  print_table(table);
  return exit_good;
}

void add_common(CLI::App *command, const std::shared_ptr<options> &chosen) {
  command->add_option("--dir", chosen->dir, "Where the file of noise is made, once, and kept")
      ->check(CLI::ExistingDirectory)
      ->capture_default_str();
  command->add_option("--file-mib", chosen->file_mib, "Its size in MiB")
      ->check(CLI::Range(16u, 1u << 20))
      ->capture_default_str();
  command->add_flag("--json", chosen->json, "One JSON object on stdout");
}

}  // namespace

void add_bench(CLI::App &app, int &exit_status) {
  auto *command = app.add_subcommand("bench", "The library beside bare loops, fio and pread");
  command->require_subcommand(1);
  auto chosen = std::make_shared<options>();
  auto *read = command->add_subcommand("read", "Random verified reads, one channel");
  add_common(read, chosen);
  read->add_option("--blocks", chosen->blocks, "Sizes of blocks")->capture_default_str();
  read->add_option("--against", chosen->against, "Of bare, fio, pread")->capture_default_str();
  auto *extents = command->add_subcommand("extents", "Unaligned parts beside aligned ones");
  add_common(extents, chosen);
  for (auto *one : {read, extents}) {
    one->add_option("--pairs", chosen->pairs, "Samples of each, in turn")
        ->check(CLI::Range(1u, 1000u))
        ->capture_default_str();
    one->add_option("--sample-mib", chosen->sample_mib, "Read for one sample")
        ->check(CLI::Range(1u, 1u << 16))
        ->capture_default_str();
  }
  auto *miss = command->add_subcommand("miss", "One absent block of 64 KiB, request to bytes");
  add_common(miss, chosen);
  miss->add_option("--rounds", chosen->rounds, "Blocks asked for in each way")
      ->check(CLI::Range(10u, 1u << 20))
      ->capture_default_str();
  read->callback([chosen, &exit_status] { exit_status = run_read(*chosen); });
  extents->callback([chosen, &exit_status] { exit_status = run_extents(*chosen); });
  miss->callback([chosen, &exit_status] { exit_status = run_miss(*chosen); });
}

}  // namespace cubby_cli
