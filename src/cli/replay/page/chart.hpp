// Lines over an axis, as SVG that stands inside a page: colours come from the page's style.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace cubby_cli::replay {

struct chart_point {
  double x = 0, y = 0;
  std::string tooltip;  // when one points at it
};

struct chart_line {
  std::string name, style;  // style: classes of the page
  std::vector<chart_point> points;
};

struct chart_tick {
  double at = 0;
  std::string label;
};

struct chart {
  std::string title, x_name;
  bool logarithmic = false;  // the axis of x; its values are above 0 then
  std::vector<chart_tick> x_ticks;
  double y_max = 1;
  std::function<std::string(double)> y_label;
  std::vector<chart_line> lines;
  /// Above 0: the axis of y is logarithmic from there to y_max.
  double y_least = 0;
};

std::string svg_of(const chart &of);
/// A round number that is not below.
double round_up(double value);
/// For text between tags and in attributes.
std::string escaped(const std::string &text);

}  // namespace cubby_cli::replay
