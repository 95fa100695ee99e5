// What the pages of all kinds of traces are made of: texts, tables, and curves over the capacity.
#pragma once

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cli/replay/page/chart.hpp"
#include "cli/support.hpp"

namespace cubby_cli::replay {

/// "Replay of" the trace, or of two.
std::string title_of(const nlohmann::json &report);

std::string milliseconds(double ns);
std::string tag(const std::string &name, const std::string &inside);

using cells = std::vector<std::string>;
std::string table_of(const cells &heads, const std::vector<cells> &rows);

class page_parts {
 protected:
  using json = nlohmann::json;
  /// `unit`: of capacities, "lockers" or "bytes", of which there are `all`.
  page_parts(const json &report, const std::string &unit, double all);

  /// Colours by place, so that a policy looks the same in every chart.
  [[nodiscard]] std::string style_of(const std::string &policy) const;
  /// Notes on the trace, and the policies left out.
  [[nodiscard]] std::string notes() const;

  /// A figure of every result over the capacity.
  template <class Value, class Text>
  chart over_capacity(const std::string &name, const Value &value, const Text &text,
                      double y_max) const {
    chart made;
    made.title = name + " over capacity";
    made.x_name = "capacity, % of all " + unit_;
    made.logarithmic = true;
    made.y_max = y_max;
    made.y_label = [text](double at) { return brief(text(at)); };
    for (const std::string &policy : policies_) {
      chart_line line = {policy, style_of(policy), {}};
      for (const json &one : results_) {
        if (one["policy"] != policy) continue;
        const double share = 100 * one["capacity_" + unit_].get<double>() / all_;
        line.points.push_back(
            {share, value(one), one["capacity"].get<std::string>() + ": " + text(value(one))});
        if (policy == policies_.front())
          made.x_ticks.push_back({share, share_name(one["capacity"], share)});
      }
      sort_by_x(line.points);
      made.lines.push_back(std::move(line));
    }
    std::sort(made.x_ticks.begin(), made.x_ticks.end(),
              [](const chart_tick &a, const chart_tick &b) { return a.at < b.at; });
    return made;
  }
  static void sort_by_x(std::vector<chart_point> &points) {
    std::sort(points.begin(), points.end(),
              [](const chart_point &a, const chart_point &b) { return a.x < b.x; });
  }
  /// "75.00 %" as "75 %".
  static std::string brief(const std::string &text);
  /// As it was asked for, where that was a share.
  static std::string share_name(const std::string &asked, double share);
  template <class Value>
  double most(const Value &value) const {
    double found = 0;
    for (const json &one : results_) found = std::max(found, value(one));
    return round_up(found);
  }

  [[nodiscard]] std::string token_curves() const;

  const json &report_;
  const json &results_;
  std::vector<std::string> policies_;
  bool timed_ = false;

 private:
  const std::string unit_;
  const double all_;
};

/// The sections of a page; of a trace of one kind, and of one of both.
std::string body_of(const nlohmann::json &report);
std::string mixed_body_of(const nlohmann::json &report);

}  // namespace cubby_cli::replay
