#include "cli/replay/page/parts.hpp"

namespace cubby_cli::replay {

std::string title_of(const nlohmann::json &report) {
  const std::string title = "Replay of " + report["trace"].get<std::string>();
  return report.contains("with") ? title + " with " + report["with"].get<std::string>() : title;
}

std::string milliseconds(double ns) { return fixed_text(ns / 1e6) + " ms"; }
std::string tag(const std::string &name, const std::string &inside) {
  return "<" + name + ">" + inside + "</" + name + ">\n";
}

std::string table_of(const cells &heads, const std::vector<cells> &rows) {
  std::string text = "<div class=\"wide\"><table><thead><tr>";
  for (const std::string &head : heads) text += "<th scope=\"col\">" + escaped(head) + "</th>";
  text += "</tr></thead>\n<tbody>\n";
  for (const cells &row : rows) {
    text += "<tr>";
    for (const std::string &cell : row) text += "<td>" + escaped(cell) + "</td>";
    text += "</tr>\n";
  }
  return text + "</tbody></table></div>\n";
}

page_parts::page_parts(const json &report, const std::string &unit, double all)
    : report_(report), results_(report["results"]), unit_(unit), all_(all) {
  for (const json &one : results_) {
    const std::string name = one["policy"];
    if (std::find(policies_.begin(), policies_.end(), name) == policies_.end())
      policies_.push_back(name);
  }
  timed_ = !results_.empty() && results_[0].contains("stall");
}

std::string page_parts::notes() const {
  std::string text;
  if (report_.contains("notes"))
    for (const json &note : report_["notes"])
      text += tag("p", "The trace " + escaped(note.get<std::string>()) + ".");
  if (report_.contains("broken"))
    for (const json &one : report_["broken"])
      text += tag("p", "Left out: " + escaped(one["why"].get<std::string>()) +
                           (one.contains("capacity")
                                ? " (at " + escaped(one["capacity"].get<std::string>()) + ")."
                                : "."));
  return text;
}

std::string page_parts::style_of(const std::string &policy) const {
  if (policy == "belady") return "best";
  const auto at = static_cast<size_t>(std::find(policies_.begin(), policies_.end(), policy) -
                                      policies_.begin());
  std::string style = "s" + std::to_string(at % 8);
  if (policy == "moe" || policy == "kv" || (policy == "mixed" && unit_ == "bytes"))
    return style + " own";
  if (at >= 8) style += at >= 16 ? " d2" : " d1";
  return style;
}

std::string page_parts::brief(const std::string &text) {
  const size_t end = std::min(text.find(' '), text.size());
  std::string number = text.substr(0, end);
  if (number.find('.') != std::string::npos) {
    while (number.ends_with('0')) number.pop_back();
    if (number.ends_with('.')) number.pop_back();
  }
  return number + text.substr(end);
}

std::string page_parts::share_name(const std::string &asked, double share) {
  return asked.ends_with('%') ? asked.substr(0, asked.size() - 1) : brief(fixed_text(share));
}

std::string page_parts::token_curves() const {
  const auto stall = [](const json &one) { return one["stall"]["p50_ns"].get<double>(); };
  const auto speed = [](const json &one) { return one["tokens_per_s"].get<double>(); };
  return svg_of(over_capacity("Stall of a token, p50", stall, milliseconds, most(stall))) +
         svg_of(over_capacity("Tokens a second", speed, fixed_text, most(speed)));
}

}  // namespace cubby_cli::replay
