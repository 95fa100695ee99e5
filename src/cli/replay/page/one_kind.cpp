// The page of a trace of experts, or of KV blocks.
#include "cli/replay/page/parts.hpp"

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

/// Reads the object, writes its sections.
class page : page_parts {
 public:
  explicit page(const json &report)
      : page_parts(report, "lockers", report["lockers"].get<double>()) {
    in_tokens_ = timed_ && results_[0].contains("tokens_per_s");
  }
  std::string body() {
    return head() + curves() + "<div class=\"pair\">\n" + tag("section", regret()) +
           tag("section", places()) + "</div>\n" + too_early() + figures();
  }

 private:
  [[nodiscard]] bool experts() const { return report_["kind"] == "experts"; }

  std::string head() {
    const std::string at = report_["details"]["capacity"];
    std::string text = tag("h1", escaped(title_of(report_)));
    text += "<p class=\"soft\">" + count_text(report_["accesses"].get<uint64_t>()) + " uses of " +
            count_text(report_["unique"].get<uint64_t>()) +
            (experts() ? " experts" : " KV blocks") + ", " +
            count_text(report_["lockers"].get<uint64_t>()) + " lockers in all.</p>\n";
    text += notes();
    const json *best = nullptr;
    for (const json &one : results_) {
      const std::string policy = one["policy"];
      if (one["capacity"] != at || policy == "belady" || policy.starts_with("lookahead")) continue;
      if (best == nullptr || one["hits"] > (*best)["hits"]) best = &one;
    }
    if (best == nullptr) return text;
    return text +
           tag("p", "At " + at + " the best policy that needs no future is <b>" +
                        escaped((*best)["policy"]) + "</b>: " + percent_text((*best)["hit_ratio"]) +
                        " found, " + percent_text((*best)["regret"]) +
                        " less than Belady&apos;s optimum.");
  }

  std::string curves() const {
    const auto hits = [](const json &one) { return one["hit_ratio"].get<double>(); };
    std::string text =
        tag("h2", timed_ ? "Hit ratio and stall over capacity" : "Hit ratio over capacity");
    text += "<div class=\"pair\">\n" + svg_of(over_capacity("Hit ratio", hits, percent_text, 1));
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
           svg_of(over_capacity("Regret", value, percent_text, most(value)));
  }

  std::string places() const {
    const json &details = report_["details"];
    chart made;
    made.title = experts() ? "Hit ratio by layer" : "Hit ratio by depth";
    made.x_name = experts() ? "layer" : "blocks before it in its prefix";
    made.y_label = [](double at) { return brief(percent_text(at)); };
    for (const json &one : details["policies"]) {
      const std::string policy = one["policy"];
      chart_line line = {policy, style_of(policy), {}};
      double x = 0;
      for (const json &place : one["places"]) {
        const std::string name =
            std::to_string(place[experts() ? "layer" : "depth"].get<uint64_t>());
        const auto uses = place["uses"].get<double>();
        const double ratio = uses == 0 ? 0 : place["hits"].get<double>() / uses;
        line.points.push_back({x, ratio, made.x_name + " " + name + ": " + percent_text(ratio)});
        if (made.lines.empty()) made.x_ticks.push_back({x, name});
        ++x;
      }
      made.lines.push_back(std::move(line));
    }
    return tag("h2", made.title + " at " + escaped(details["capacity"])) + svg_of(made);
  }

  std::string too_early() const {
    const json &details = report_["details"];
    std::vector<cells> rows, top;
    for (const json &one : details["policies"]) {
      const json &early = one["evicted_too_early"];
      const auto all = early["evictions"].get<double>(), count = early["count"].get<double>();
      rows.push_back({one["policy"], count_text(early["evictions"].get<uint64_t>()),
                      count_text(early["count"].get<uint64_t>()),
                      all == 0 ? "-" : percent_text(count / all)});
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
           count_text(one["hits"].get<uint64_t>()), percent_text(one["hit_ratio"]),
           percent_text(one["regret"]), gap.is_null() ? "-" : percent_text(gap),
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

  bool in_tokens_ = false;
};

}  // namespace

std::string body_of(const json &report) { return page(report).body(); }

}  // namespace cubby_cli::replay
