// cubby bench: the library's own path beside bare loops and other people's, in turn, in one run.
#include <algorithm>
#include <iostream>
#include <map>

#include "cli/bench/blocks.hpp"
#include "cli/bench/miss.hpp"
#include "cli/bench/reader.hpp"
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

/// About 64 MiB asked for at once, the same for all: the disk stays busy while what came is
/// looked at.
uint32_t depth_for(uint64_t block_bytes) {
  return static_cast<uint32_t>(std::clamp<uint64_t>((64u << 20) / block_bytes, 32, 128));
}

struct contender {
  std::string name;
  std::unique_ptr<reader> by;
  std::vector<double> gb_per_s, cpu_ns;  // [pair]; CPU a read
};

/// One round over all in turn, the first of them another one each time.
done measure(std::vector<contender> &all, const layout &where, const options &chosen,
             progress_line &line) {
  const uint64_t count = std::max<uint64_t>(64, (chosen.sample_mib << 20) / where.block_bytes);
  for (uint32_t pair = 0; pair <= chosen.pairs; pair++) {
    const auto blocks = random_blocks(where.count(), count, pair + 1);
    for (size_t i = 0; i < all.size(); i++) {
      contender &one = all[(i + pair) % all.size()];
      auto took = one.by->run(blocks);
      if (!took) return trouble{one.name + ": " + took.failure().text};
      if (pair == 0) continue;  // to warm up
      one.gb_per_s.push_back(took->gb_per_s());
      one.cpu_ns.push_back(static_cast<double>(took->cpu_ns) / static_cast<double>(blocks.size()));
    }
    if (line.due()) {
      line.show(bytes_text(where.block_bytes) + " blocks: round " + std::to_string(pair) + " of " +
                std::to_string(chosen.pairs));
    }
  }
  return nothing{};
}

std::vector<double> ratios(const std::vector<double> &ours, const std::vector<double> &theirs) {
  std::vector<double> paired;
  for (size_t i = 0; i < ours.size(); i++) paired.push_back(ours[i] / theirs[i]);
  return paired;
}

json result_of(uint64_t block_bytes, uint32_t depth, const std::vector<contender> &all) {
  json result = {{"block_bytes", block_bytes}, {"depth", depth}};
  const contender &ours = all[0], &trusting = all[1];
  std::vector<double> best(ours.gb_per_s.size(), 0);
  for (const contender &one : all) {
    result["gb_per_s"][&one == &trusting ? "unverified" : one.name] = median(one.gb_per_s);
    if (&one == &trusting || &one == &ours) continue;
    result["ratio"][one.name] = interval(ratios(ours.gb_per_s, one.gb_per_s));
    if (one.name == "pread") continue;
    for (size_t i = 0; i < best.size(); i++) best[i] = std::max(best[i], one.gb_per_s[i]);
  }
  if (!best.empty() && best[0] > 0) result["ratio"]["best"] = interval(ratios(ours.gb_per_s, best));
  result["cpu_ns_per_read"] = {{"cubby", median(ours.cpu_ns)},
                               {"digest", median(ours.cpu_ns) - median(trusting.cpu_ns)}};
  for (const contender &one : all) {
    if (one.name == "bare") result["cpu_ns_per_read"]["bare"] = median(one.cpu_ns);
  }
  return result;
}

outcome<json> read_blocks(const layout &where, const options &chosen, json &skipped,
                          progress_line &line) {
  const uint32_t depth = depth_for(where.block_bytes);
  std::vector<contender> all;
  for (const bool verified : {true, false}) {
    auto ours = make_cubby(where, depth, verified);
    if (!ours) return ours.failure();
    all.push_back({verified ? "cubby" : "cubby, unverified", std::move(*ours), {}, {}});
  }
  const std::map<std::string, outcome<std::unique_ptr<reader>> (*)(const layout &, uint32_t)>
      known = {{"bare", make_bare}, {"fio", make_fio}, {"pread", make_pread}};
  for (const std::string &name : list_of(chosen.against)) {
    const auto found = known.find(name);
    if (found == known.end()) {
      return usage_trouble("there is no " + name + " to compare with; there are bare, fio, pread");
    }
    auto made = found->second(where, depth);
    if (made) {
      all.push_back({name, std::move(*made), {}, {}});
    } else {
      const json one = {{"name", name}, {"why", made.failure().text}};
      if (std::find(skipped.begin(), skipped.end(), one) == skipped.end()) skipped.push_back(one);
    }
  }
  if (auto measured = measure(all, where, chosen, line); !measured) return measured.failure();
  return result_of(where.block_bytes, depth, all);
}

void print_reads(const json &all) {
  const auto text = [](const json &of, const char *name) {
    if (!of.contains(name)) return std::string("-");
    return fixed_text(of[name].is_object() ? of[name]["median"] : of[name]);
  };
  std::vector<std::vector<std::string>> table = {{"block", "depth", "cubby GB/s", "unverified",
                                                  "bare", "fio", "pread", "to best", "CPU us",
                                                  "bare", "digest"}};
  for (const json &one : all["results"]) {
    const json &speed = one["gb_per_s"], &cpu = one["cpu_ns_per_read"];
    json micro;
    for (const auto &[name, ns] : cpu.items()) micro[name] = ns.get<double>() / 1000;
    const json ratio = one.contains("ratio") ? one["ratio"] : json::object();
    table.push_back({bytes_text(one["block_bytes"]), std::to_string(one["depth"].get<int>()),
                     text(speed, "cubby"), text(speed, "unverified"), text(speed, "bare"),
                     text(speed, "fio"), text(speed, "pread"), text(ratio, "best"),
                     text(micro, "cubby"), text(micro, "bare"), text(micro, "digest")});
  }
  print_table(table);
  for (const json &one : all["skipped"]) {
    std::cout << "skipped " << one["name"].get<std::string>() << ": "
              << one["why"].get<std::string>() << "\n";
  }
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
    auto result = read_blocks(where, chosen, all["skipped"], line);
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
  if (auto good = measure(all, aligned, chosen, line); !good) return fail(chosen, good.failure());
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
