// Prometheus text as numbers.
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

namespace cubby_cli::top {

using label_map = std::map<std::string, std::string>;

struct metric {
  std::string name;
  label_map labels;
  double value = 0;
};

/// In the order of the text; lines that are none are left out.
std::vector<metric> read_metrics(const std::string &text);

/// One bucket of a histogram: how many took at most so long.
struct bucket {
  double bound_s = 0;  // infinity for the last
  double count = 0;
};

struct tier_numbers {
  std::string name, backend;
  std::map<std::string, double> values;  // without "cubby_tier_" and "_total"
  std::vector<bucket> loads;
  double load_sum_s = 0;

  [[nodiscard]] double of(const std::string &which) const {
    const auto at = values.find(which);
    return at == values.end() ? 0 : at->second;
  }
};

struct numbers {
  std::string version;
  std::map<std::string, double> values;   // without "cubby_" and "_total"
  std::map<std::string, double> stall_s;  // by cause
  std::vector<tier_numbers> tiers;

  [[nodiscard]] double of(const std::string &which) const {
    const auto at = values.find(which);
    return at == values.end() ? 0 : at->second;
  }
};

numbers sort_metrics(const std::vector<metric> &all);

/// Within which `share` (0 to 1) of what came between two looks came; negative where none came.
double quantile_s(const std::vector<bucket> &before, const std::vector<bucket> &now, double share);

}  // namespace cubby_cli::top
