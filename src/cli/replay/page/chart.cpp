#include "cli/replay/page/chart.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

namespace cubby_cli::replay {
namespace {

constexpr double width = 480, height = 300;
constexpr double left = 58, right = 466, top = 14, bottom = 252;
constexpr double label_width = 44;  // of a tick of x, at least

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.1f", value);
  return text;
}

class axis_scale {
 public:
  explicit axis_scale(const chart &of) : of_(of) {
    for (const chart_line &line : of.lines)
      for (const chart_point &point : line.points) see(point.x);
    for (const chart_tick &tick : of.x_ticks) see(tick.at);
    if (!(high_ > low_)) high_ = low_ + 1;
  }
  [[nodiscard]] double x(double value) const {
    return left + (along(value) - low_) / (high_ - low_) * (right - left);
  }
  [[nodiscard]] double y(double value) const {
    const double share = of_.y_least > 0
                             ? std::log(value / of_.y_least) / std::log(of_.y_max / of_.y_least)
                             : value / of_.y_max;
    return bottom - std::clamp(share, 0.0, 1.0) * (bottom - top);
  }

 private:
  [[nodiscard]] double along(double value) const {
    return of_.logarithmic ? std::log(value) : value;
  }
  void see(double value) {
    low_ = std::min(low_, along(value));
    high_ = std::max(high_, along(value));
  }
  const chart &of_;
  double low_ = 1e300, high_ = -1e300;
};

std::string text_at(double x, double y, const char *anchor, const std::string &text) {
  return "<text x=\"" + number(x) + "\" y=\"" + number(y) + "\" text-anchor=\"" + anchor + "\">" +
         escaped(text) + "</text>\n";
}

std::string rule(double x1, double y1, double x2, double y2) {
  return "<line class=\"rule\" x1=\"" + number(x1) + "\" y1=\"" + number(y1) + "\" x2=\"" +
         number(x2) + "\" y2=\"" + number(y2) + "\"/>\n";
}

/// Where the axis of y is labelled: at powers of ten, and between them where they are few.
std::vector<double> y_ticks(const chart &of) {
  std::vector<double> ticks;
  if (!(of.y_least > 0)) {
    for (int i = 0; i <= 4; ++i) ticks.push_back(of.y_max * i / 4);
    return ticks;
  }
  const bool few = of.y_max / of.y_least <= 1000;
  for (double ten = std::pow(10, std::floor(std::log10(of.y_least))); ten <= of.y_max; ten *= 10)
    for (const double step : {1.0, 2.0, 5.0})
      if ((step == 1 || few) && step * ten >= of.y_least && step * ten <= of.y_max)
        ticks.push_back(step * ten);
  return ticks;
}

std::string axes(const chart &of, const axis_scale &place) {
  std::string svg;
  for (const double value : y_ticks(of)) {
    const double y = place.y(value);
    svg += rule(left, y, right, y) + text_at(left - 6, y + 5, "end", of.y_label(value));
  }
  double free = 0;  // labels that would lie over the one before are left out
  for (const chart_tick &tick : of.x_ticks) {
    const double x = place.x(tick.at);
    svg += rule(x, bottom, x, bottom + 5);
    if (x < free) continue;
    svg += text_at(std::min(x, width - 18), bottom + 20, "middle", tick.label);
    free = x + label_width;
  }
  return svg + text_at((left + right) / 2, height - 6, "middle", of.x_name);
}

std::string drawn(const chart_line &line, const axis_scale &place) {
  std::string points, dots;
  for (const chart_point &point : line.points) {
    const std::string x = number(place.x(point.x)), y = number(place.y(point.y));
    points += (points.empty() ? "" : " ") + x + "," + y;
    dots += "<circle cx=\"" + x + "\" cy=\"" + y + "\" r=\"3\"><title>" +
            escaped(line.name + ", " + point.tooltip) + "</title></circle>\n";
  }
  return "<g class=\"" + line.style + "\">\n<polyline points=\"" + points + "\"/>\n" + dots +
         "</g>\n";
}

}  // namespace

std::string escaped(const std::string &text) {
  std::string made;
  for (const char c : text) {
    if (c == '&')
      made += "&amp;";
    else if (c == '<')
      made += "&lt;";
    else if (c == '>')
      made += "&gt;";
    else if (c == '"')
      made += "&quot;";
    else if (static_cast<unsigned char>(c) < 0x20 || static_cast<unsigned char>(c) == 0x7F)
      made += '?';
    else
      made += c;
  }
  return made;
}

double round_up(double value) {
  if (!(value > 0)) return 1;
  const double ten = std::pow(10, std::floor(std::log10(value)));
  for (const double step : {1.0, 2.0, 4.0, 6.0, 8.0})
    if (value <= step * ten) return step * ten;
  return 10 * ten;
}

std::string svg_of(const chart &of) {
  const axis_scale place(of);
  std::string svg = "<figure>\n<div class=\"name\">" + escaped(of.title) +
                    "</div>\n<svg viewBox=\"0 0 " + number(width) + " " + number(height) +
                    "\" role=\"img\" aria-label=\"" + escaped(of.title) + "\">\n" + axes(of, place);
  std::string legend = "<figcaption>";
  for (const chart_line &line : of.lines) {
    svg += drawn(line, place);
    legend += "<span class=\"" + line.style + "\"><svg class=\"key\" viewBox=\"0 0 24 8\">" +
              "<polyline points=\"0,4 24,4\"/></svg>" + escaped(line.name) + "</span>\n";
  }
  return svg + "</svg>\n" + legend + "</figcaption>\n</figure>\n";
}

}  // namespace cubby_cli::replay
