// cubby bench: the library's own path beside bare loops and other people's, in turn, in one run.

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "cli/bench/blocks.hpp"
#include "cli/bench/kv.hpp"
#include "cli/bench/miss.hpp"
#include "cli/bench/read.hpp"
#include "cli/bench/rows.hpp"
#include "cli/characterize/file_systems.hpp"
#include "cli/commands.hpp"
#include "cli/printable.hpp"
#include "cli/support.hpp"
#include "cli/work_folder.hpp"

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
    const layout file{*path, chosen.file_mib << 20, *bytes, *bytes, 0};
    // All that is in flight at once, twice, or a read would find its block on its way already.
    if (file.count() < 2ull * depth_for(*bytes)) {
      return fail(chosen, usage_trouble("the file is too small for blocks of " + text +
                                        "; raise --file-mib"));
    }
    auto result = read_blocks(file, list_of(chosen.against), chosen.wanted(), all["skipped"], line);
    if (!result) return fail(chosen, result.failure());
    all["results"].push_back(*result);
  }
  if (chosen.json) {
    print_json(all);
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
  std::vector<competitor> all;
  for (const layout &file : {odd, aligned}) {
    auto made = make_cubby(file, depth, true);
    if (!made) return fail(chosen, made.failure());
    all.push_back({all.empty() ? "unaligned" : "aligned", std::move(*made), {}, {}});
  }
  progress_line line(chosen.json);
  if (auto good = measure(all, aligned, chosen.wanted(), line); !good)
    return fail(chosen, good.failure());
  const json ratio = interval(ratios(all[0].gb_per_s, all[1].gb_per_s));
  if (chosen.json) {
    print_json({{"part_bytes", part_bytes},
                {"pairs", chosen.pairs},
                {"gb_per_s",
                 {{"unaligned", median(all[0].gb_per_s)}, {"aligned", median(all[1].gb_per_s)}}},
                {"ratio", ratio}});
  } else {
    std::cout << "unaligned " << median(all[0].gb_per_s) << " GB/s, aligned "
              << median(all[1].gb_per_s) << " GB/s, ratio " << ratio["median"] << "\n";
  }
  return exit_good;
}

int run_miss(const options &chosen) {
  auto path = blocks_file(chosen.dir, chosen.file_mib << 20, chosen.json);
  if (!path) return fail(chosen, path.failure());
  const layout file{*path, chosen.file_mib << 20, 65536, 65536, 0};
  auto report = miss_latency(file, chosen.rounds);
  if (!report) return fail(chosen, report.failure());
  if (chosen.json) {
    print_json(*report);
    return exit_good;
  }
  std::vector<std::vector<std::string>> table = {{"way", "p50 us", "p99 us", "to pread (p50)"}};
  for (const json &one : (*report)["results"]) {
    const auto text = [&](const char *name, double scale) {
      return fixed_text(one[name].get<double>() / scale);
    };
    table.push_back({one["name"], text("p50_ns", 1000), text("p99_ns", 1000), text("ratio", 1)});
  }
  print_table(table);
  return exit_good;
}

struct kv_options {
  std::string dir = ".", bytes = "512m", pump = "thread", rows = "memory,gets,puts,match,latency";
  uint32_t rounds = 7;
  bool json = false, quick = false;
};

outcome<kv_plan> plan_of(const kv_options &chosen) {
  kv_plan plan;
  const double bytes = byte_count(chosen.bytes).value_or(0);
  if (bytes < 32 << 20 || bytes > 1e12) {
    return usage_trouble("--bytes is at least 32m and at most 1000g, not " + chosen.bytes);
  }
  plan.set_bytes = static_cast<uint64_t>(bytes) >> 21 << 21;
  plan.rounds = chosen.rounds;
  plan.pump = chosen.pump == "caller" ? CUBBY_PUMP_CALLER : CUBBY_PUMP_THREAD;
  if (chosen.quick) {
    plan.set_bytes = uint64_t{32} << 20;
    plan.rounds = 1;
    plan.match_keys = {1000, 10'000};
    plan.latency_gets = 20;
  }
  return plan;
}

/// What `disk` in the names of rows stands for, where it is none of this machine's.
std::string note_of(const std::string &directory) {
  const auto there = characterize::file_system_of(directory);
  if (!there) return {};
  const std::string why = characterize::why_no_disk(*there);
  return why.empty() ? why : directory + " is " + why;
}

int run_kv(const kv_options &chosen) {
  const auto fail_with = [&](const trouble &why) {
    return report_trouble("bench", why, chosen.json);
  };
  const std::pair<const char *, done (*)(const kv_plan &, json &, progress_line &)> known[] = {
      {"memory", kv_memory_row},
      {"gets", kv_get_rows},
      {"puts", kv_put_rows},
      {"match", kv_match_rows},
      {"latency", kv_latency_row}};
  auto plan = plan_of(chosen);
  if (!plan) return fail_with(plan.failure());
  const auto wanted = list_of(chosen.rows);
  for (const std::string &name : wanted) {
    if (std::none_of(std::begin(known), std::end(known),
                     [&](const auto &one) { return name == one.first; })) {
      return fail_with(usage_trouble("there are no rows " + name +
                                     "; there are memory, gets, puts, match, latency"));
    }
  }
  const work_folder there(chosen.dir + "/cubby-bench-kv-XXXXXX");
  if (there.path().empty()) return fail_with(system_trouble("a folder in " + chosen.dir, errno));
  plan->directory = there.path();
  const std::string note = note_of(chosen.dir);
  if (!note.empty()) std::cerr << "cubby bench: " << printable(note) << "\n";
  json rows = json::array();
  {
    progress_line line(chosen.json);
    for (const auto &[name, measure] : known) {
      if (std::find(wanted.begin(), wanted.end(), name) == wanted.end()) continue;
      if (auto measured = measure(*plan, rows, line); !measured) {
        return fail_with(measured.failure());
      }
    }
  }
  if (chosen.json) {
    print_json({{"set_bytes", plan->set_bytes},
                {"rounds", plan->rounds},
                {"pump", chosen.pump},
                {"note", note.empty() ? json() : json(note)},
                {"rows", std::move(rows)}});
  } else {
    print_kv_rows(rows);
  }
  return exit_good;
}

void add_kv(command &all) {
  auto chosen = std::make_shared<kv_options>();
  command kv = all.subcommand("kv", "KV blocks put to and got from memory and disk");
  kv.option("--dir", chosen->dir, "Where a folder for the store is made, and removed at the end")
      .existing_folder()
      .show_default();
  kv.option("--bytes", chosen->bytes, "Blocks on disk in all; memory holds an eighth")
      .show_default();
  kv.option("--rounds", chosen->rounds, "Of each side, in turn").between(1, 1000).show_default();
  kv.option("--pump", chosen->pump, "Of the runtime").one_of({"thread", "caller"}).show_default();
  kv.option("--rows", chosen->rows, "Which are measured").show_default();
  kv.flag("--quick", chosen->quick, "As little as shows that it works; its figures say nothing");
  kv.flag("--json", chosen->json, "One JSON object on stdout");
  kv.runs([chosen] { return run_kv(*chosen); });
}

struct row_options : options {
  std::string pump = "thread";
  uint32_t row_bytes = 512, page_bytes = 16 << 10, count = 48, prompt_rows = 4096;
};

int run_rows(const row_options &chosen) {
  auto path = blocks_file(chosen.dir, chosen.file_mib << 20, chosen.json);
  if (!path) return fail(chosen, path.failure());
  if ((chosen.file_mib << 20) / chosen.row_bytes > UINT32_MAX) {
    return fail(chosen, usage_trouble("the table has too many rows; raise --row-bytes"));
  }
  rows_plan plan;
  plan.path = *path;
  plan.file_bytes = chosen.file_mib << 20;
  plan.row_bytes = chosen.row_bytes;
  plan.page_bytes = chosen.page_bytes;
  plan.count = chosen.count;
  plan.prompt_count = chosen.prompt_rows;
  plan.rounds = chosen.rounds;
  plan.pump = chosen.pump == "caller" ? CUBBY_PUMP_CALLER : CUBBY_PUMP_THREAD;
  progress_line line(chosen.json);
  auto report = row_lookups(plan, line);
  if (!report) return fail(chosen, report.failure());
  chosen.json ? print_json(*report) : print_row_lookups(*report);
  return exit_good;
}

void add_common(command &one, options &chosen) {
  one.option("--dir", chosen.dir, "Where the file of noise is made, once, and stays")
      .existing_folder()
      .show_default();
  one.option("--file-mib", chosen.file_mib, "Its size in MiB").between(16, 1u << 20).show_default();
  one.flag("--json", chosen.json, "One JSON object on stdout");
}

void add_rows(command &all) {
  auto chosen = std::make_shared<row_options>();
  chosen->rounds = 200;
  command rows = all.subcommand("rows", "Rows of a table beside mmap and pread, warm and cold");
  add_common(rows, *chosen);
  rows.option("--row-bytes", chosen->row_bytes, "Size of a row")
      .between(1, 1u << 20)
      .show_default();
  rows.option("--page-bytes", chosen->page_bytes, "Size of a page of rows")
      .between(512, 1u << 24)
      .show_default();
  rows.option("--count", chosen->count, "Rows looked up for a token")
      .between(1, 1u << 16)
      .show_default();
  rows.option("--prompt-rows", chosen->prompt_rows, "Rows looked up for a prompt")
      .between(1, 1u << 16)
      .show_default();
  rows.option("--rounds", chosen->rounds, "Tokens; a prompt every ten of them")
      .between(1, 1u << 20)
      .show_default();
  rows.option("--pump", chosen->pump, "Of the runtime").one_of({"thread", "caller"}).show_default();
  rows.runs([chosen] { return run_rows(*chosen); });
}

}  // namespace

void add_bench(command &program) {
  command all = program.subcommand("bench", "The library beside bare loops, fio and pread");
  all.require_subcommand();
  auto chosen = std::make_shared<options>();
  command read = all.subcommand("read", "Random verified reads, one channel");
  add_common(read, *chosen);
  read.option("--blocks", chosen->blocks, "Sizes of blocks").show_default();
  read.option("--against", chosen->against, "Of bare, fio, pread").show_default();
  command extents = all.subcommand("extents", "Unaligned parts beside aligned ones");
  add_common(extents, *chosen);
  for (command *one : {&read, &extents}) {
    one->option("--pairs", chosen->pairs, "Samples of each, in turn")
        .between(1, 1000)
        .show_default();
    one->option("--sample-mib", chosen->sample_mib, "Read for one sample")
        .between(1, 1u << 16)
        .show_default();
  }
  command miss = all.subcommand("miss", "One absent block of 64 KiB, request to bytes");
  add_common(miss, *chosen);
  miss.option("--rounds", chosen->rounds, "Blocks asked for in each way")
      .between(10, 1u << 20)
      .show_default();
  read.runs([chosen] { return run_read(*chosen); });
  extents.runs([chosen] { return run_extents(*chosen); });
  miss.runs([chosen] { return run_miss(*chosen); });
  add_kv(all);
  add_rows(all);
  add_bench_decode(all);
}

}  // namespace cubby_cli
