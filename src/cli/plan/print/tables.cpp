#include "cli/plan/formulas.hpp"
#include "cli/plan/print/print.hpp"
#include "cli/support.hpp"

namespace cubby_cli::plan {
namespace {

std::string size_text(double bytes) { return bytes <= 0 ? "-" : bytes_text(whole(bytes)); }

std::string time_text(double seconds) {
  if (seconds < 1e-3) return short_number(1e6 * seconds) + " us";
  return seconds < 1 ? short_number(1e3 * seconds) + " ms" : short_number(seconds) + " s";
}

std::string known(const std::optional<double> &value, const std::string &before,
                  const std::string &after) {
  return value ? before + short_number(*value) + after : "not known";
}

/// A row: what, here, and with everything in fast memory.
using row_maker = std::string (*)(const answer &, const question &, const outlook &);
struct figure {
  const char *name;
  row_maker text;
};

const figure figures[] = {
    {"tokens a second, all users",
     [](const answer &, const question &asked, const outlook &of) {
       return short_number(of.tokens_per_s(asked));
     }},
    {"with their prompts",
     [](const answer &, const question &asked, const outlook &of) {
       return short_number(of.sustained_tokens_per_s(asked));
     }},
    {"time of a token", [](const answer &, const question &,
                           const outlook &of) { return time_text(of.step.step_s()); }},
    {"of it stall", [](const answer &, const question &,
                       const outlook &of) { return percent_text(of.step.stall_share()); }},
    {"time to first token", [](const answer &, const question &,
                               const outlook &of) { return time_text(of.first.all_s()); }},
    {"expert hit ratio",
     [](const answer &with, const question &, const outlook &of) {
       return with.asked.model.has_experts() ? percent_text(of.step.hits) : "no experts";
     }},
    {"$ a million tokens",
     [](const answer &, const question &, const outlook &of) {
       return known(of.usd_per_million_tokens, "$", "");
     }},
    {"J a million tokens", [](const answer &, const question &, const outlook &of) {
       if (!of.energy.joules) return std::string("not known");
       return short_number(1e6 * *of.energy.joules) + " J";
     }}};

std::string at_text(const break_even &one) {
  if (!one.at) return one.otherwise;
  const bool share = one.name.starts_with("hits") || one.name == "reuse";
  if (share) return percent_text(*one.at);
  return short_number(*one.at) + (one.unit.empty() ? "" : " " + one.unit);
}

}  // namespace

table placement_table(const answer &of) {
  const outlook &here = of.offload;
  table lines = {{"", "all", "read a step"}};
  for (const place &one : here.places) lines[0].push_back(one.name);
  for (const part &one : here.parts.parts) {
    if (one.bytes <= 0) continue;
    lines.push_back({one.name, size_text(one.bytes), size_text(one.read_bytes)});
    for (const double bytes : one.placed) lines.back().push_back(size_text(bytes));
  }
  lines.push_back({"budget", "", ""});
  lines.push_back({"speed to where products read", "", ""});
  for (const place &one : here.places) {
    lines[lines.size() - 2].push_back(size_text(one.budget_bytes));
    lines[lines.size() - 1].push_back(speed_text(one.bytes_per_s));
  }
  return lines;
}

table figures_table(const answer &of) {
  table lines = {{"", "here"}};
  const bool beside = of.resident && of.resident_devices > 1;
  if (beside) lines[0].push_back("all in " + resident_name(of));
  const question more = with_devices(of.asked, of.resident_devices);
  for (const figure &one : figures) {
    lines.push_back({one.name, one.text(of, of.asked, of.offload)});
    if (beside) lines.back().push_back(one.text(of, more, *of.resident));
  }
  if (const auto &life = of.offload.life) {
    lines.push_back({"life of " + life->name, known(life->years, "", " years")});
    lines.push_back({"written to it", speed_text(life->write_bytes_per_s)});
  }
  if (of.asked.sells) {
    const input_price &list = *of.asked.sells;
    const auto usd = [&](double reuse) {
      return "$" +
             short_number(input_usd(of.asked.context.value, reuse, list.hit_usd, list.miss_usd));
    };
    lines.push_back({"a prompt at " + list.name + "'s prices", usd(of.asked.reuse.value)});
    lines.push_back({"the same, all found / nothing found", usd(1) + " / " + usd(0)});
  }
  return lines;
}

table break_even_table(const answer &of) {
  table lines = {{"break-even", "at", ""}};
  for (const break_even &one : of.break_evens)
    lines.push_back({one.name, at_text(one), one.meaning});
  return lines;
}

table chain_table(const answer &of) {
  table lines = {{"what", "value", "unit", "origin", "formula", "source"}};
  for (const step &one : of.steps.steps())
    lines.push_back(
        {one.name, short_number(one.value), one.unit, name_of(one.from), one.formula, one.source});
  return lines;
}

}  // namespace cubby_cli::plan
