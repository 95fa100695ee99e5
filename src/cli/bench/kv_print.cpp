#include "cli/bench/kv.hpp"

namespace cubby_cli::bench {
namespace {

using nlohmann::json;

std::string number(const json &of, const char *name, double scale = 1) {
  return of.contains(name) ? fixed_text(of[name].get<double>() / scale) : "-";
}

/// One form for all rows, whatever they are measured in.
std::vector<std::string> cells(const json &one) {
  std::string what = one["row"];
  if (one.contains("present_count")) {
    what += " of " + count_text(one["matched_count"]) + " keys, " +
            count_text(one["present_count"]) + " present";
    return {what,
            bytes_text(one["block_bytes"]),
            number(one, "ours_ns_per_key") + " ns a key",
            "-",
            "-",
            "<= " + number(one, "goal_ns_per_key"),
            one["goal_met"] ? "met" : "missed",
            "-",
            "-",
            "-",
            "-"};
  }
  const std::string ratio = fixed_text(one["ratio"]["median"]);
  if (one.contains("alone_p99_ns")) {
    return {what,
            bytes_text(one["block_bytes"]),
            number(one, "busy_p99_ns", 1000) + " / " + number(one, "alone_p99_ns", 1000) + " us",
            number(one, "reference_busy_p99_ns", 1000) + " / " +
                number(one, "reference_alone_p99_ns", 1000) + " us",
            ratio,
            "<= " + number(one, "goal_ratio_max"),
            one["goal_met"] ? "met" : "missed",
            "-",
            "-",
            "-",
            "-"};
  }
  return {what,
          bytes_text(one["block_bytes"]),
          number(one, "ours_gb_per_s") + " GB/s",
          number(one, "reference_gb_per_s") + " GB/s (" + one["reference"].get<std::string>() + ")",
          ratio,
          ">= " + number(one, "goal_ratio"),
          one["goal_met"] ? "met" : "missed",
          number(one, "ours_cpu_s_per_gb"),
          number(one, "reference_cpu_s_per_gb"),
          number(one, "ours_starved_s_per_gb"),
          number(one, "reference_starved_s_per_gb")};
}

}  // namespace

void print_kv_rows(const json &rows) {
  std::vector<std::vector<std::string>> table = {{"what", "block", "cubby", "reference", "ratio",
                                                  "goal", "", "CPU s/GB", "reference", "starved",
                                                  "reference"}};
  for (const json &one : rows) table.push_back(cells(one));
  print_table(table);
}

}  // namespace cubby_cli::bench
