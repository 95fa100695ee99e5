#include "cli/top/metric_list.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <sstream>

namespace cubby_cli::top {
namespace {

/// From behind the brace up to the other, which is skipped; false where it is no list of labels.
bool read_labels(const std::string &line, size_t &at, label_map &to) {
  while (at < line.size() && line[at] != '}') {
    const size_t equals = line.find("=\"", at);
    if (equals == std::string::npos) return false;
    std::string &value = to[line.substr(at, equals - at)];
    for (at = equals + 2; at < line.size() && line[at] != '"'; ++at) {
      if (line[at] == '\\' && at + 1 < line.size()) ++at;
      value += line[at];
    }
    ++at;
    if (at < line.size() && line[at] == ',') ++at;
  }
  return at++ < line.size();
}

std::string without(const std::string &name, const std::string &prefix) {
  std::string rest = name.substr(prefix.size());
  if (rest.ends_with("_total")) rest.resize(rest.size() - 6);
  return rest;
}

tier_numbers &tier_of(numbers &all, const label_map &labels) {
  const std::string &name = labels.at("tier");
  for (tier_numbers &one : all.tiers)
    if (one.name == name) return one;
  all.tiers.emplace_back().name = name;
  return all.tiers.back();
}

}  // namespace

std::vector<metric> read_metrics(const std::string &text) {
  std::vector<metric> all;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    metric one;
    size_t at = line.find_first_of("{ ");
    if (at == std::string::npos) continue;
    one.name = line.substr(0, at);
    if (line[at] == '{' && !read_labels(line, ++at, one.labels)) continue;
    one.value = std::strtod(line.c_str() + at, nullptr);
    all.push_back(std::move(one));
  }
  return all;
}

numbers sort_metrics(const std::vector<metric> &all) {
  numbers sorted;
  for (const metric &one : all) {
    const bool of_tier = one.labels.contains("tier");
    if (one.name == "cubby_build_info") {
      sorted.version = one.labels.contains("version") ? one.labels.at("version") : "";
    } else if (of_tier && one.name.starts_with("cubby_tier_")) {
      tier_numbers &tier = tier_of(sorted, one.labels);
      if (one.labels.contains("backend")) tier.backend = one.labels.at("backend");
      tier.values[without(one.name, "cubby_tier_")] = one.value;
    } else if (of_tier && one.name == "cubby_load_seconds_bucket") {
      const std::string &bound = one.labels.at("le");
      const double bound_s = bound == "+Inf" ? INFINITY : std::strtod(bound.c_str(), nullptr);
      tier_of(sorted, one.labels).loads.push_back({bound_s, one.value});
    } else if (of_tier && one.name == "cubby_load_seconds_sum") {
      tier_of(sorted, one.labels).load_sum_s = one.value;
    } else if (one.name == "cubby_stall_seconds_total") {
      sorted.stall_s[one.labels.at("cause")] = one.value;
    } else if (!of_tier && one.name.starts_with("cubby_")) {
      sorted.values[without(one.name, "cubby_")] += one.value;  // of all uses, where there are some
    }
  }
  return sorted;
}

double quantile_s(const std::vector<bucket> &before, const std::vector<bucket> &now, double share) {
  if (now.empty()) return -1;
  const auto since = [&](size_t i) {
    return now[i].count - (i < before.size() ? before[i].count : 0);
  };
  const double all = since(now.size() - 1);
  if (all <= 0) return -1;
  for (size_t i = 0; i < now.size(); ++i)
    if (since(i) >= share * all) return now[i].bound_s;
  return now.back().bound_s;
}

}  // namespace cubby_cli::top
