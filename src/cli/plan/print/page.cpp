#include <cmath>

#include "cli/plan/formulas.hpp"
#include "cli/plan/print/print.hpp"
#include "cli/replay/page/chart.hpp"
#include "cli/replay/page/page.hpp"
#include "cli/replay/page/parts.hpp"
#include "cli/support.hpp"

namespace cubby_cli::plan {
namespace {

using replay::chart;
using replay::escaped;
using replay::tag;

void replace_first(std::string &in, const std::string &what, const std::string &with) {
  if (const size_t at = in.find(what); at != std::string::npos) in.replace(at, what.size(), with);
}

std::string html_table(const table &lines) {
  return replay::table_of(lines.front(), {lines.begin() + 1, lines.end()});
}

double largest(const chart &of) {
  double most = 0;
  for (const auto &line : of.lines)
    for (const auto &point : line.points) most = std::max(most, point.y);
  return replay::round_up(most);
}

/// Tokens a second by users, here and with everything in fast memory.
std::string users_chart(const answer &of) {
  chart made;
  made.title = "tokens a second over users";
  made.x_name = "users";
  made.logarithmic = true;
  made.lines = {{"here", "s0", {}}, {"all in fast memory", "s1", {}}};
  for (double users = 1; users <= 256; users *= 2) {
    question asked = of.asked;
    const double idle = std::max(0.0, asked.sessions.value - asked.users.value);
    asked.users.value = users;
    asked.sessions.value = users + idle;
    made.x_ticks.push_back({users, short_number(users)});
    const auto add = [&](const question &with, size_t line) {
      const auto seen = look_ahead(with);
      if (!seen || !seen->fits()) return;
      const double speed = seen->tokens_per_s(with);
      made.lines[line].points.push_back({users, speed, short_number(speed) + " tokens/s"});
    };
    add(asked, 0);
    if (of.resident_devices > 1) add(with_devices(asked, of.resident_devices), 1);
  }
  if (made.lines[1].points.empty()) made.lines.pop_back();
  if (made.lines[0].points.empty()) return {};
  made.y_max = largest(made);
  made.y_label = [](double at) { return short_number(at); };
  return replay::svg_of(made);
}

/// KV of one user by context.
std::string context_chart(const answer &of) {
  chart made;
  made.title = "KV of a user over the context";
  made.x_name = "tokens";
  made.logarithmic = true;
  made.lines = {{name_of(of.asked.kv), "s0", {}}};
  const double most = std::max(2048.0, longest_context(of.asked));
  for (double tokens = 1024; tokens <= most; tokens *= 2) {
    const double bytes = kv_bytes(of.asked.model, of.asked.kv, tokens);
    made.x_ticks.push_back({tokens, short_number(tokens / 1024) + "k"});
    made.lines[0].points.push_back({tokens, bytes, bytes_text(whole(bytes))});
  }
  made.y_max = largest(made);
  made.y_label = [](double at) { return bytes_text(whole(at)); };
  return replay::svg_of(made);
}

std::string verdict_list(const answer &of) {
  std::string items;
  for (const verdict &one : of.verdicts)
    items += tag("li", escaped(one.respect + ": " + name_of(one.which) + "; " + one.reason));
  for (const std::string &note : of.notes) items += tag("li", escaped("note: " + note));
  return tag("ul", items);
}

std::string title_of(const answer &of) {
  return "Plan of " + of.asked.model.title + " on " + of.asked.machine_name;
}

std::string body_of(const answer &of) {
  const question &asked = of.asked;
  const bool pays = of.overall.which == verdict::kind::pays;
  std::string body = tag("h1", escaped(title_of(of)));
  body += tag("p", escaped(short_number(asked.users.value) + " users of " +
                           count_text(whole(asked.context.value)) + " tokens"));
  body += tag(
      "p", tag("strong", std::string("Offload ") + (pays ? "pays" : "does not pay") + " here: ") +
               escaped(of.overall.reason));
  body += tag("h2", "What lies where") + html_table(placement_table(of));
  if (of.offload.fits()) body += tag("h2", "Figures") + html_table(figures_table(of));
  body += tag("h2", "Verdicts") + verdict_list(of);
  body += tag("h2", "Break-even") + html_table(break_even_table(of));
  body += tag("h2", "Curves") + "<div class=\"pair\">" + users_chart(of) + context_chart(of) +
          "</div>\n";
  body += tag("h2", "Where each number is from") + html_table(chain_table(of));
  return body;
}

}  // namespace

bool is_page(std::string_view begin, uint64_t /*bytes*/) {
  return begin.starts_with("<!DOCTYPE html>") &&
         begin.find("content=\"cubby plan\"") != std::string_view::npos;
}

std::string page_of(const answer &of) {
  std::string text = replay::page_template;
  replace_first(text, "content=\"cubby replay\"", "content=\"cubby plan\"");
  replace_first(text, "id=\"replay\"", "id=\"plan\"");
  replace_first(text, "{{data}}", replay::embedded(json_of(of)));
  replace_first(text, "{{body}}", body_of(of));
  replace_first(text, "{{title}}", escaped(title_of(of)));
  return text;
}

}  // namespace cubby_cli::plan
