#include "cli/replay/page/page.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "cli/replay/page/chart.hpp"
#include "cli/support.hpp"

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

std::string percent(double share) { return fixed_text(100 * share) + " %"; }
std::string milliseconds(double ns) { return fixed_text(ns / 1e6) + " ms"; }
std::string tag(const std::string &name, const std::string &inside) {
  return "<" + name + ">" + inside + "</" + name + ">\n";
}

using cells = std::vector<std::string>;

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

/// The page under way: reads the object, writes its sections.
class page {
 public:
  explicit page(const json &told) : told_(told), results_(told["results"]) {
    for (const json &one : results_) {
      const std::string name = one["policy"];
      if (std::find(policies_.begin(), policies_.end(), name) == policies_.end())
        policies_.push_back(name);
    }
    all_lockers_ = told["lockers"].get<double>();
    timed_ = !results_.empty() && results_[0].contains("stall");
    in_tokens_ = timed_ && results_[0].contains("tokens_per_s");
  }
  std::string body() {
    return head() + curves() + "<div class=\"pair\">\n" + tag("section", regret()) +
           tag("section", places()) + "</div>\n" + too_early() + figures();
  }
  [[nodiscard]] std::string title() const {
    return "Replay of " + told_["trace"].get<std::string>();
  }

 private:
  /// Colours by place, so that a policy looks the same in every chart.
  [[nodiscard]] std::string style_of(const std::string &policy) const {
    if (policy == "belady") return "best";
    const auto at = static_cast<size_t>(std::find(policies_.begin(), policies_.end(), policy) -
                                        policies_.begin());
    std::string style = "s" + std::to_string(at % 8);
    if (policy == "moe" || policy == "kv") return style + " own";
    if (at >= 8) style += at >= 16 ? " d2" : " d1";
    return style;
  }
  [[nodiscard]] bool experts() const { return told_["kind"] == "experts"; }

  std::string head() {
    const std::string at = told_["details"]["capacity"];
    std::string text = tag("h1", escaped(title()));
    text += "<p class=\"soft\">" + count_text(told_["accesses"].get<uint64_t>()) + " uses of " +
            count_text(told_["unique"].get<uint64_t>()) + (experts() ? " experts" : " KV blocks") +
            ", " + count_text(told_["lockers"].get<uint64_t>()) + " lockers in all.</p>\n";
    if (told_.contains("notes"))
      for (const json &note : told_["notes"])
        text += tag("p", "The trace " + escaped(note.get<std::string>()) + ".");
    if (told_.contains("broken"))
      for (const json &one : told_["broken"])
        text += tag("p", "Left out: " + escaped(one["why"].get<std::string>()) +
                             (one.contains("capacity")
                                  ? " (at " + escaped(one["capacity"].get<std::string>()) + ")."
                                  : "."));
    const json *best = nullptr;
    for (const json &one : results_) {
      const std::string policy = one["policy"];
      if (one["capacity"] != at || policy == "belady" || policy.starts_with("lookahead")) continue;
      if (best == nullptr || one["hits"] > (*best)["hits"]) best = &one;
    }
    if (best == nullptr) return text;
    return text + tag("p", "At " + at + " the best policy that needs no future is <b>" +
                               escaped((*best)["policy"]) +
                               "</b>: " + percent((*best)["hit_ratio"]) + " found, " +
                               percent((*best)["regret"]) + " less than Belady&apos;s optimum.");
  }

  /// A figure of every result over the capacity.
  template <class Value, class Text>
  chart over_capacity(const std::string &name, const Value &value, const Text &text,
                      double y_max) const {
    chart made;
    made.title = name + " over capacity";
    made.x_name = "capacity, % of all lockers";
    made.logarithmic = true;
    made.y_max = y_max;
    made.y_label = [text](double at) { return brief(text(at)); };
    for (const std::string &policy : policies_) {
      chart_line line = {policy, style_of(policy), {}};
      for (const json &one : results_) {
        if (one["policy"] != policy) continue;
        const double share = 100 * one["capacity_lockers"].get<double>() / all_lockers_;
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
  static std::string brief(const std::string &text) {
    const size_t end = std::min(text.find(' '), text.size());
    std::string number = text.substr(0, end);
    if (number.find('.') != std::string::npos) {
      while (number.ends_with('0')) number.pop_back();
      if (number.ends_with('.')) number.pop_back();
    }
    return number + text.substr(end);
  }
  /// As it was asked for, where that was a share.
  static std::string share_name(const std::string &asked, double share) {
    return asked.ends_with('%') ? asked.substr(0, asked.size() - 1) : brief(fixed_text(share));
  }
  template <class Value>
  double most(const Value &value) const {
    double found = 0;
    for (const json &one : results_) found = std::max(found, value(one));
    return round_up(found);
  }

  std::string curves() const {
    const auto hits = [](const json &one) { return one["hit_ratio"].get<double>(); };
    std::string text =
        tag("h2", timed_ ? "Hit ratio and stall over capacity" : "Hit ratio over capacity");
    text += "<div class=\"pair\">\n" + svg_of(over_capacity("Hit ratio", hits, percent, 1));
    if (timed_) text += experts() ? token_curves() : request_curves();
    text += "</div>\n";
    if (timed_)
      text += tag("p", std::string("Beside the hits, by the model of docs/timing.md: ") +
                           (experts() ? "the stall of a token (p50), and tokens a second."
                                      : "what a request waits for loads and for computing anew "
                                        "what had been computed before (mean), and how long its "
                                        "first token takes from its arrival on (mean)."));
    return text;
  }
  std::string token_curves() const {
    const auto stall = [](const json &one) { return one["stall"]["p50_ns"].get<double>(); };
    const auto speed = [](const json &one) { return one["tokens_per_s"].get<double>(); };
    return svg_of(over_capacity("Stall of a token, p50", stall, milliseconds, most(stall))) +
           svg_of(over_capacity("Tokens a second", speed, fixed_text, most(speed)));
  }
  /// Means: most requests of many traces wait for nothing.
  std::string request_curves() const {
    const auto stall = [](const json &one) { return one["stall"]["mean_ns"].get<double>(); };
    const auto first = [](const json &one) { return one["first_token"]["mean_ns"].get<double>(); };
    return svg_of(over_capacity("Stall of a request, mean", stall, milliseconds, most(stall))) +
           svg_of(over_capacity("Time to the first token, mean", first, milliseconds, most(first)));
  }

  std::string regret() const {
    const auto value = [](const json &one) { return one["regret"].get<double>(); };
    return tag("h2", "Regret against Belady") +
           tag("p",
               "What the optimum, which knows the future, would have found beyond it, in % of all "
               "uses.") +
           svg_of(over_capacity("Regret", value, percent, most(value)));
  }

  std::string places() const {
    const json &details = told_["details"];
    chart made;
    made.title = experts() ? "Hit ratio by layer" : "Hit ratio by depth";
    made.x_name = experts() ? "layer" : "blocks before it in its prefix";
    made.y_label = [](double at) { return brief(percent(at)); };
    for (const json &one : details["policies"]) {
      const std::string policy = one["policy"];
      chart_line line = {policy, style_of(policy), {}};
      double x = 0;
      for (const json &place : one["places"]) {
        const std::string name =
            std::to_string(place[experts() ? "layer" : "depth"].get<uint64_t>());
        const auto uses = place["uses"].get<double>();
        const double ratio = uses == 0 ? 0 : place["hits"].get<double>() / uses;
        line.points.push_back({x, ratio, made.x_name + " " + name + ": " + percent(ratio)});
        if (made.lines.empty()) made.x_ticks.push_back({x, name});
        ++x;
      }
      made.lines.push_back(std::move(line));
    }
    return tag("h2", made.title + " at " + escaped(details["capacity"])) + svg_of(made);
  }

  std::string too_early() const {
    const json &details = told_["details"];
    std::vector<cells> rows, top;
    for (const json &one : details["policies"]) {
      const json &early = one["evicted_too_early"];
      const auto all = early["evictions"].get<double>(), count = early["count"].get<double>();
      rows.push_back({one["policy"], count_text(early["evictions"].get<uint64_t>()),
                      count_text(early["count"].get<uint64_t>()),
                      all == 0 ? "-" : percent(count / all)});
      cells line = {one["policy"]};
      for (const json &locker : early["top"]) {
        const std::string name = experts() ? std::to_string(locker["layer"].get<uint64_t>()) + "/" +
                                                 std::to_string(locker["expert"].get<uint64_t>())
                                           : std::to_string(locker["block"].get<uint64_t>());
        line.push_back(name + " × " + count_text(locker["count"].get<uint64_t>()));
      }
      top.push_back(std::move(line));
    }
    cells heads = {"policy"};
    size_t longest = 0;
    for (const cells &line : top) longest = std::max(longest, line.size());
    for (size_t i = 1; i < longest; ++i) heads.push_back("#" + std::to_string(i));
    for (cells &line : top) line.resize(longest);
    const std::string within =
        experts() ? "one token cycle"
                  : std::to_string(
                        details["policies"][0]["evicted_too_early"]["within"].get<uint64_t>()) +
                        " requests";
    return tag("h2", "Evicted too early at " + escaped(details["capacity"])) +
           tag("p", "Evicted, and missing again within " + within + ".") +
           table_of({"policy", "evictions", "too early", "share"}, rows) +
           tag("p", std::string("The lockers that were evicted too early most often, as ") +
                        (experts() ? "layer/expert" : "number of the block") + " × times.") +
           table_of(heads, top);
  }

  std::string figures() const {
    cells heads = {"policy",    "capacity", "lockers",    "hits",
                   "hit ratio", "regret",   "gap closed", experts() ? "ns/visit" : "ns/block",
                   "state"};
    if (timed_)
      heads.insert(heads.end(),
                   {in_tokens_ ? "tokens/s" : "blocks/s", "stall p50", "stall p99", "stall mean"});
    if (timed_ && !experts())
      heads.insert(heads.end(), {"first token p50", "first token p99", "first token mean"});
    std::vector<cells> rows;
    for (const json &one : results_) {
      const json &gap = one["gap_closed"];
      rows.push_back(
          {one["policy"], one["capacity"], count_text(one["capacity_lockers"].get<uint64_t>()),
           count_text(one["hits"].get<uint64_t>()), percent(one["hit_ratio"]),
           percent(one["regret"]), gap.is_null() ? "-" : percent(gap),
           fixed_text(one["ns_per_visit"]), bytes_text(one["state_bytes"].get<uint64_t>())});
      if (!timed_) continue;
      rows.back().push_back(fixed_text(one[in_tokens_ ? "tokens_per_s" : "blocks_per_s"]));
      for (const char *what : {"stall", "first_token"}) {
        if (!one.contains(what)) continue;
        for (const char *field : {"p50_ns", "p99_ns", "mean_ns"})
          rows.back().push_back(milliseconds(one[what][field]));
      }
    }
    return tag("h2", "All figures") + table_of(heads, rows);
  }

  const json &told_;
  const json &results_;
  std::vector<std::string> policies_;
  double all_lockers_ = 1;
  bool timed_ = false, in_tokens_ = false;
};

std::string filled(std::string text, const std::string &name, const std::string &with) {
  const std::string mark = "{{" + name + "}}";
  return text.replace(text.find(mark), mark.size(), with);
}

/// JSON that ends no script and needs no escapes of XML.
std::string embedded(const json &told) {
  std::string text;
  for (const char c : told.dump(-1, ' ', true, json::error_handler_t::replace)) {
    if (c == '<')
      text += "\\u003c";
    else if (c == '>')
      text += "\\u003e";
    else if (c == '&')
      text += "\\u0026";
    else
      text += c;
  }
  return text;
}

}  // namespace

std::string page_of(const json &told) {
  page made(told);
  // Last in, first filled: what is put in is not looked through for marks again.
  std::string text = filled(page_template, "data", embedded(told));
  text = filled(std::move(text), "body", made.body());
  return filled(std::move(text), "title", escaped(made.title()));
}

}  // namespace cubby_cli::replay
