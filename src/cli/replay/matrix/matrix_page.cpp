#include <algorithm>
#include <cmath>
#include <set>

#include "cli/replay/matrix/matrix.hpp"
#include "cli/replay/page/chart.hpp"
#include "cli/replay/page/page.hpp"
#include "cli/replay/page/parts.hpp"
#include "cli/support.hpp"

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

/// One figure of a line; NaN where it has none.
using figure_of = double (*)(const json &);

double hits_of(const json &line) { return line.value("hit_ratio", std::nan("")); }
double speed_of(const json &line) {
  for (const char *name : {"tokens_per_s", "blocks_per_s"})
    if (line.contains(name) && line[name].is_number()) return line[name].get<double>();
  return std::nan("");
}
double stall_of(const json &line) {
  const bool there = line.contains("stall") && line["stall"].contains("share");
  return there ? line["stall"]["share"].get<double>() : std::nan("");
}

std::string shown(double value, std::string (*text)(double)) {
  return std::isnan(value) ? "" : text(value);
}

std::vector<std::string> distinct(const json &lines, const char *field) {
  std::vector<std::string> found;
  for (const json &line : lines) {
    const std::string value = line[field];
    if (std::find(found.begin(), found.end(), value) == found.end()) found.push_back(value);
  }
  return found;
}

std::string style_of(const std::vector<std::string> &policies, const std::string &name) {
  if (name == "belady") return "best";
  const auto at =
      static_cast<size_t>(std::find(policies.begin(), policies.end(), name) - policies.begin());
  return "s" + std::to_string(at % 8) + (at >= 16 ? " d2" : at >= 8 ? " d1" : "");
}

double share_of(const json &line) {
  return 100 * line["capacity_lockers"].get<double>() / line["lockers"].get<double>();
}

/// A line a policy, over the capacity.
std::string chart_of(const json &lines, const std::vector<std::string> &policies,
                     const std::string &title, figure_of figure, std::string (*text)(double)) {
  chart made;
  made.title = title;
  made.x_name = "capacity, % of all lockers";
  made.logarithmic = true;
  std::set<double> ticks;
  double most = 0;
  for (const std::string &policy : policies) {
    chart_line line = {policy, style_of(policies, policy), {}};
    for (const json &one : lines) {
      const double value = figure(one);
      if (one["policy"] != policy || std::isnan(value)) continue;
      line.points.push_back({share_of(one), value, policy + ": " + text(value)});
      ticks.insert(share_of(one));
      most = std::max(most, value);
    }
    std::sort(line.points.begin(), line.points.end(),
              [](const chart_point &a, const chart_point &b) { return a.x < b.x; });
    if (!line.points.empty()) made.lines.push_back(std::move(line));
  }
  if (made.lines.empty()) return {};
  for (const double at : ticks) {
    char label[32];
    snprintf(label, sizeof label, "%.3g %%", at);
    made.x_ticks.push_back({at, label});
  }
  made.y_max = round_up(most);
  made.y_label = text;
  return svg_of(made);
}

std::string results_table(const json &lines) {
  std::vector<cells> rows;
  for (const json &line : lines)
    rows.push_back({line["trace"], line["links"], line["policy"], line["capacity"],
                    line.contains("broken") ? line["broken"].get<std::string>()
                                            : shown(hits_of(line), percent_text),
                    shown(speed_of(line), fixed_text), shown(stall_of(line), percent_text)});
  return table_of(
      {"trace", "links", "policy", "capacity", "hit ratio", "tokens or blocks/s", "stall"}, rows);
}

std::string sections(const json &lines) {
  const std::vector<std::string> policies = distinct(lines, "policy");
  std::string body;
  for (const std::string &trace : distinct(lines, "trace"))
    for (const std::string &links : distinct(lines, "links")) {
      json part = json::array();
      for (const json &line : lines)
        if (line["trace"] == trace && line["links"] == links && !line.contains("broken"))
          part.push_back(line);
      if (part.empty()) continue;
      body += tag("h2", escaped(trace + (links.empty() ? "" : ", " + links)));
      body += "<div class=\"pair\">" +
              chart_of(part, policies, "hit ratio over capacity", hits_of, percent_text) +
              chart_of(part, policies, "tokens or blocks a second over capacity", speed_of,
                       fixed_text) +
              "</div>\n";
    }
  return body;
}

void replace_first(std::string &in, const std::string &what, const std::string &with) {
  if (const size_t at = in.find(what); at != std::string::npos) in.replace(at, what.size(), with);
}

}  // namespace

std::string matrix_page(const matrix_wish &wish, const json &lines) {
  std::string text = page_template;
  replace_first(text, "{{data}}", embedded(lines));
  replace_first(text, "{{body}}",
                tag("h1", escaped("Matrix " + wish.path)) + sections(lines) +
                    tag("h2", "All results") + results_table(lines));
  replace_first(text, "{{title}}", escaped("Matrix " + wish.path));
  return text;
}

}  // namespace cubby_cli::replay
