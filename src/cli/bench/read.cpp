#include "cli/bench/read.hpp"

#include <algorithm>
#include <iostream>
#include <map>

#include "cli/bench/blocks.hpp"

namespace cubby_cli::bench {
namespace {

using nlohmann::json;

json result_of(uint64_t block_bytes, uint32_t depth, const std::vector<competitor> &all) {
  json result = {{"block_bytes", block_bytes}, {"depth", depth}};
  const competitor &ours = all[0], &trusting = all[1];
  std::vector<double> best(ours.gb_per_s.size(), 0);
  for (const competitor &one : all) {
    result["gb_per_s"][&one == &trusting ? "unverified" : one.name] = median(one.gb_per_s);
    if (&one == &trusting || &one == &ours) continue;
    result["ratio"][one.name] = interval(ratios(ours.gb_per_s, one.gb_per_s));
    if (one.name == "pread") continue;
    for (size_t i = 0; i < best.size(); i++) best[i] = std::max(best[i], one.gb_per_s[i]);
  }
  if (!best.empty() && best[0] > 0) result["ratio"]["best"] = interval(ratios(ours.gb_per_s, best));
  result["cpu_ns_per_read"] = {{"cubby", median(ours.cpu_ns)},
                               {"digest", median(ours.cpu_ns) - median(trusting.cpu_ns)}};
  for (const competitor &one : all) {
    if (one.name == "bare") result["cpu_ns_per_read"]["bare"] = median(one.cpu_ns);
  }
  return result;
}

}  // namespace

outcome<json> read_blocks(const layout &file, const std::vector<std::string> &against,
                          const rounds &wanted, json &skipped, progress_line &line) {
  const uint32_t depth = depth_for(file.block_bytes);
  std::vector<competitor> all;
  for (const bool verified : {true, false}) {
    auto ours = make_cubby(file, depth, verified);
    if (!ours) return ours.failure();
    all.push_back({verified ? "cubby" : "cubby, unverified", std::move(*ours), {}, {}});
  }
  const std::map<std::string, outcome<std::unique_ptr<reader>> (*)(const layout &, uint32_t)>
      known = {{"bare", make_bare}, {"fio", make_fio}, {"pread", make_pread}};
  for (const std::string &name : against) {
    const auto found = known.find(name);
    if (found == known.end()) {
      return usage_trouble("there is no " + name + " to compare with; there are bare, fio, pread");
    }
    auto made = found->second(file, depth);
    if (made) {
      all.push_back({name, std::move(*made), {}, {}});
    } else {
      const json one = {{"name", name}, {"why", made.failure().text}};
      if (std::find(skipped.begin(), skipped.end(), one) == skipped.end()) skipped.push_back(one);
    }
  }
  if (auto measured = measure(all, file, wanted, line); !measured) return measured.failure();
  return result_of(file.block_bytes, depth, all);
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

}  // namespace cubby_cli::bench
