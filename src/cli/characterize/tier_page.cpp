// The plots of a tier: how fast by size of block, how long by load, what a byte costs.
#include <algorithm>
#include <cmath>
#include <functional>
#include <map>

#include "cli/characterize/page.hpp"
#include "cli/characterize/report.hpp"
#include "cli/replay/page/parts.hpp"

namespace cubby_cli::characterize {
namespace {

using profile::point;
using profile::tier;
using replay::chart;
using replay::chart_line;
using replay::chart_point;
using replay::escaped;
using replay::tag;

std::string style_at(size_t place) { return "s" + std::to_string(place % 8); }

double power_below(double value) { return std::pow(10, std::floor(std::log10(value))); }
double power_above(double value) { return std::pow(10, std::ceil(std::log10(value))); }

/// Short enough for the axis; the plot's title says that it is a second's.
std::string bytes_a_second(double value) { return bytes_text(static_cast<uint64_t>(value)); }

/// Both axes logarithmic, y as far as there are values. Nothing where there are none.
std::string drawn(chart made) {
  double least = 1e300, most = 0;
  for (const chart_line &line : made.lines)
    for (const chart_point &one : line.points) {
      least = std::min(least, one.y);
      most = std::max(most, one.y);
    }
  if (!(most > 0) || !(least > 0)) return {};
  made.logarithmic = true;
  made.y_least = power_below(least);
  made.y_max = std::max(power_above(most), 10 * made.y_least);
  return svg_of(made);
}

void tick_at_blocks(chart &to) {
  for (uint64_t block = 4096; block <= 4u << 20; block *= 4)
    to.x_ticks.push_back({static_cast<double>(block), block_text(block)});
}

bool is_huge_or_none(const point &one) { return !one.pages || *one.pages == "huge"; }

/// By size of block, the best value over all depths.
std::vector<chart_point> best_by_block(const std::vector<point> &curves,
                                       const std::function<bool(const point &)> &counts) {
  std::map<uint64_t, const point *> best;
  for (const point &one : curves) {
    if (!counts(one) || one.op == "chase") continue;
    const point *&at = best[one.block_bytes];
    if (at == nullptr || one.bytes_per_s > at->bytes_per_s) at = &one;
  }
  std::vector<chart_point> points;
  for (const auto &[block, at] : best)
    points.push_back({static_cast<double>(block), at->bytes_per_s,
                      block_text(block) + " at depth " + std::to_string(at->depth) + ": " +
                          speed_text(at->bytes_per_s)});
  return points;
}

std::string roofline(const tier &of) {
  chart made;
  made.title = "Bytes a second over size of block, at the best depth";
  made.x_name = "block";
  made.y_label = bytes_a_second;
  tick_at_blocks(made);
  size_t style = 0;
  for (const char *op : {"read", "write", "first_write", "mix70", "copy"})
    for (const char *path : {"bare", "cubby"}) {
      auto points = best_by_block(of.curves, [&](const point &one) {
        return one.op == op && one.path == path && one.beside == "nothing" && is_huge_or_none(one);
      });
      if (points.empty()) continue;
      const bool ours = std::string(path) == "cubby";
      made.lines.push_back({std::string(op) + (ours ? ", by the library" : ""),
                            style_at(style++) + (ours ? " own" : ""), std::move(points)});
    }
  return drawn(std::move(made));
}

/// A line a size of block, a point a depth.
std::string latency_over_load(const tier &of, bool tail) {
  chart made;
  made.title = std::string("Latency of reads over load, ") + (tail ? "p99" : "p50");
  made.x_name = "speed";
  made.y_label = [](double ns) { return time_text(ns); };
  std::map<uint64_t, std::vector<chart_point>> lines;
  double least = 1e300, most = 0;
  for (const point &one : of.curves) {
    const profile::number ns = tail ? one.p99_ns : one.p50_ns;
    if (one.op != "read" || one.path != "bare" || one.beside != "nothing" || !ns ||
        !is_huge_or_none(one) || !(*ns > 0))
      continue;
    lines[one.block_bytes].push_back({one.bytes_per_s, *ns,
                                      "depth " + std::to_string(one.depth) + ": " +
                                          speed_text(one.bytes_per_s) + ", " + time_text(*ns)});
    least = std::min(least, one.bytes_per_s);
    most = std::max(most, one.bytes_per_s);
  }
  for (double ten = power_below(least); ten <= most; ten *= 10)
    if (ten >= least) made.x_ticks.push_back({ten, speed_text(ten)});
  for (auto &[block, points] : lines)
    made.lines.push_back({block_text(block), style_at(made.lines.size()), std::move(points)});
  return drawn(std::move(made));
}

/// What a byte costs at the depth that is fastest.
std::string cost_of_byte(const tier &of, bool energy) {
  chart made;
  made.title = energy ? "Energy of a byte, nanojoules" : "Processor time of a byte, nanoseconds";
  made.x_name = "block";
  made.y_label = [](double value) {
    char text[32];
    std::snprintf(text, sizeof text, "%g", value);
    return std::string(text);
  };
  tick_at_blocks(made);
  for (const char *op : {"read", "write", "copy"})
    for (const char *path : {"bare", "cubby"}) {
      std::map<uint64_t, std::pair<double, double>> cost;  // speed, cost
      for (const point &one : of.curves) {
        const profile::number value = energy ? one.joules_per_byte : one.cpu_ns_per_byte;
        if (one.op != op || one.path != path || !is_huge_or_none(one) || !value) continue;
        auto &at = cost[one.block_bytes];
        if (one.bytes_per_s > at.first) at = {one.bytes_per_s, *value * (energy ? 1e9 : 1)};
      }
      chart_line line = {std::string(op) + (path[0] == 'c' ? ", by the library" : ""),
                         style_at(made.lines.size()),
                         {}};
      for (const auto &[block, at] : cost)
        if (at.second > 0)
          line.points.push_back(
              {static_cast<double>(block), at.second,
               block_text(block) + ": " + fixed_text(at.second) + (energy ? " nJ" : " ns")});
      if (!line.points.empty()) made.lines.push_back(std::move(line));
    }
  return drawn(std::move(made));
}

/// Demand alone, and while something else writes back.
std::string beside_write_back(const tier &of) {
  chart made;
  made.title = "p99 of reads, alone and beside write-back";
  made.x_name = "depth";
  made.y_label = [](double ns) { return time_text(ns); };
  std::map<std::pair<uint64_t, std::string>, std::vector<chart_point>> lines;
  std::map<uint64_t, bool> beside;
  for (const point &one : of.curves) beside[one.block_bytes] |= one.beside == "write-back";
  for (const point &one : of.curves)
    if (one.op == "read" && one.path == "bare" && beside[one.block_bytes] && one.p99_ns &&
        *one.p99_ns > 0)
      lines[{one.block_bytes, one.beside}].push_back(
          {static_cast<double>(one.depth), *one.p99_ns,
           "depth " + std::to_string(one.depth) + ": " + time_text(one.p99_ns)});
  for (auto &[name, points] : lines) {
    const bool alone = name.second == "nothing";
    made.lines.push_back({block_text(name.first) + (alone ? ", alone" : ", beside write-back"),
                          style_at(made.lines.size() / 2) + (alone ? "" : " d1"),
                          std::move(points)});
  }
  for (uint32_t depth = 1; depth <= 64; depth *= 2)
    made.x_ticks.push_back({static_cast<double>(depth), std::to_string(depth)});
  return made.lines.size() < 2 ? "" : drawn(std::move(made));
}

}  // namespace

std::string roofs_of(const profile::machine_profile &of) {
  chart made;
  made.title = "Bytes a second read from each tier over size of block, at the best depth";
  made.x_name = "block";
  made.y_label = bytes_a_second;
  tick_at_blocks(made);
  for (const tier &one : of.tiers) {
    auto points = best_by_block(one.curves, [](const point &at) {
      return at.op == "read" && at.path == "bare" && at.beside == "nothing" && is_huge_or_none(at);
    });
    if (!points.empty())
      made.lines.push_back({one.name, style_at(made.lines.size()), std::move(points)});
  }
  return drawn(std::move(made));
}

std::string tier_section(const tier &of) {
  std::string text = tag("h2", escaped(of.name)) + tag("p", escaped(of.source + "."));
  for (const std::string &note : of.notes) text += tag("p", escaped("Note: " + note + "."));
  text += "<div class=\"pair\">\n" + roofline(of) + latency_over_load(of, false) +
          latency_over_load(of, true) + beside_write_back(of) + cost_of_byte(of, false) +
          cost_of_byte(of, true) + "</div>\n";
  const auto table = curve_lines(of);
  if (table.size() > 1)
    text += "<details><summary>All " + std::to_string(table.size() - 1) + " points</summary>\n" +
            replay::table_of(table.front(), {table.begin() + 1, table.end()}) + "</details>\n";
  return text;
}

}  // namespace cubby_cli::characterize
