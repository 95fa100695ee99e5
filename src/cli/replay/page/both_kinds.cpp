// The page of a trace of experts and KV blocks.
#include "cli/replay/page/parts.hpp"

namespace cubby_cli::replay {
namespace {

std::string seconds(double ns) { return fixed_text(ns / 1e9) + " s"; }

class mixed_page : page_parts {
 public:
  explicit mixed_page(const json &report)
      : page_parts(report, "bytes", report["all_bytes"].get<double>()) {}
  std::string body() {
    return head() + curves() + "<div class=\"pair\">\n" + found_of("experts", "Experts found") +
           found_of("blocks", "KV blocks found") + "</div>\n" + shares() + figures();
  }

 private:
  [[nodiscard]] std::string capacity() const { return report_["details"]["capacity"]; }

  [[nodiscard]] std::string head() const {
    const std::string at = capacity();
    std::string text = tag("h1", escaped(title_of(report_)));
    text += "<p class=\"soft\">" + count_text(report_["tokens"].get<uint64_t>()) + " tokens and " +
            count_text(report_["requests"].get<uint64_t>()) + " requests in one tier; experts of " +
            bytes_text(report_["object_bytes"].get<uint64_t>()) + " and KV blocks of " +
            bytes_text(report_["block_bytes"].get<uint64_t>()) + ", " +
            bytes_text(report_["all_bytes"].get<uint64_t>()) + " in all.</p>\n" + notes();
    const json *best = nullptr;
    for (const json &one : results_)
      if (one["capacity"] == at && (best == nullptr || one["waited_ns"] < (*best)["waited_ns"]))
        best = &one;
    if (best == nullptr) return text;
    const json &saved = (*best)["waited_saved"];
    return text +
           tag("p", "At " + at + " least is waited with <b>" + escaped((*best)["policy"]) +
                        "</b>: " + seconds((*best)["waited_ns"]) +
                        (saved.is_null() ? "." : ", " + percent_text(saved) + " less than LRU."));
  }

  [[nodiscard]] std::string curves() const {
    const auto hits = [](const json &one) { return one["hit_ratio"].get<double>(); };
    const auto waited = [](const json &one) { return one["waited_ns"].get<double>(); };
    std::string text = tag("h2", "Hit ratio and waiting over capacity") +
                       tag("p",
                           "Waiting counts what each miss costs by itself; first uses of a KV "
                           "block are computed whatever is admitted, and cost nothing here.") +
                       "<div class=\"pair\">\n" +
                       svg_of(over_capacity("Hit ratio", hits, percent_text, 1)) +
                       svg_of(over_capacity("Time waited", waited, seconds, most(waited)));
    if (timed_) text += token_curves();
    return text + "</div>\n";
  }
  [[nodiscard]] std::string found_of(const std::string &kind, const std::string &name) const {
    const auto hits = [&](const json &one) { return one[kind]["hit_ratio"].get<double>(); };
    return svg_of(over_capacity(name, hits, percent_text, 1));
  }

  /// At the capacity of the details, over the length of the trace.
  [[nodiscard]] std::string shares() const {
    chart made;
    made.title = "Part of the tier that KV blocks hold";
    made.x_name = "% of the trace";
    made.y_label = [](double at) { return brief(percent_text(at)); };
    for (const int at : {0, 25, 50, 75, 100})
      made.x_ticks.push_back({static_cast<double>(at), std::to_string(at)});
    for (const json &one : results_) {
      if (one["capacity"] != capacity()) continue;
      chart_line line = {one["policy"], style_of(one["policy"]), {}};
      const double width = 100.0 / static_cast<double>(one["blocks_share"].size());
      for (const json &share : one["blocks_share"]) {
        const double x = (static_cast<double>(line.points.size()) + 0.5) * width;
        line.points.push_back({x, share, fixed_text(x) + " %: " + percent_text(share)});
      }
      made.lines.push_back(std::move(line));
    }
    return tag("h2", "Who holds the tier at " + escaped(capacity())) + svg_of(made);
  }

  [[nodiscard]] std::string figures() const {
    cells heads = {"policy",       "capacity", "bytes", "hit ratio", "experts found",
                   "blocks found", "waited",   "saved", "ns/visit",  "state"};
    if (timed_)
      heads.insert(heads.end(),
                   {"tokens/s", "stall p50", "stall p99", "first token p50", "first token p99"});
    std::vector<cells> rows;
    for (const json &one : results_) {
      const json &saved = one["waited_saved"];
      rows.push_back({one["policy"], one["capacity"],
                      bytes_text(one["capacity_bytes"].get<uint64_t>()),
                      percent_text(one["hit_ratio"]), percent_text(one["experts"]["hit_ratio"]),
                      percent_text(one["blocks"]["hit_ratio"]), seconds(one["waited_ns"]),
                      saved.is_null() ? "-" : percent_text(saved), fixed_text(one["ns_per_visit"]),
                      bytes_text(one["state_bytes"].get<uint64_t>())});
      if (!timed_) continue;
      rows.back().push_back(fixed_text(one["tokens_per_s"]));
      for (const char *what : {"stall", "first_token"})
        for (const char *field : {"p50_ns", "p99_ns"})
          rows.back().push_back(milliseconds(one[what][field]));
    }
    return tag("h2", "All figures") + table_of(heads, rows);
  }
};

}  // namespace

std::string mixed_body_of(const nlohmann::json &report) { return mixed_page(report).body(); }

}  // namespace cubby_cli::replay
