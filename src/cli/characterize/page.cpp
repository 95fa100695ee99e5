#include "cli/characterize/page.hpp"

#include "cli/characterize/report.hpp"
#include "cli/replay/formats/save.hpp"
#include "cli/replay/page/page.hpp"
#include "cli/replay/page/parts.hpp"

namespace cubby_cli::characterize {
namespace {

using profile::machine_profile;
using profile::ordered_json;
using replay::cells;
using replay::escaped;
using replay::tag;

std::string replaced(std::string text, const std::string &mark, const std::string &with) {
  return text.replace(text.find(mark), mark.size(), with);
}

std::string title_of(const machine_profile &of) { return "What " + of.machine.host + " delivers"; }

std::string summary_table(const machine_profile &of) {
  const std::vector<cells> lines = summary_lines(of);
  return replay::table_of(lines.front(), {lines.begin() + 1, lines.end()});
}

std::string link_table(const machine_profile &of) {
  if (of.links.empty()) return {};
  std::vector<cells> rows;
  for (const profile::link &one : of.links)
    rows.push_back({one.from + " to " + one.to, speed_text(one.bytes_per_s),
                    time_text(one.latency_ns), one.source});
  return tag("h2", "Links") + replay::table_of({"link", "speed", "latency", "measured by"}, rows);
}

std::string compute_table(const machine_profile &of) {
  std::vector<cells> rows;
  if (of.compute) {
    rows.push_back({"weights through products, " + std::to_string(of.compute->threads) + " threads",
                    speed_text(of.compute->product_bytes_per_s)});
    rows.push_back({"the same, one thread",
                    speed_text(of.compute->one_thread_product_bytes_per_s.value_or(0))});
  }
  if (of.digest_bytes_per_s)
    rows.push_back({"digests, one thread", speed_text(*of.digest_bytes_per_s)});
  return rows.empty() ? "" : tag("h2", "Processors") + replay::table_of({"what", "speed"}, rows);
}

/// What the machine is made of, as it says itself.
std::string picture_of(const machine_profile &of) {
  std::vector<cells> rows;
  for (const ordered_json &one : of.machine.topology) {
    std::string about;
    for (const auto &[name, value] : one.items()) {
      if (name == "type") continue;
      const bool bytes = name.ends_with("bytes") && value.is_number_unsigned();
      const std::string text = bytes               ? bytes_text(value.get<uint64_t>())
                               : value.is_string() ? value.get<std::string>()
                                                   : value.dump();
      if (!text.empty()) about += (about.empty() ? "" : ", ") + name + " " + text;
    }
    rows.push_back({one.value("type", "?"), about});
  }
  return tag("h2", "The machine") +
         tag("p",
             escaped(of.machine.cpu + ", " + std::to_string(of.machine.processors) +
                     " processors, " + std::to_string(of.machine.numa_nodes) + " NUMA nodes, " +
                     bytes_text(static_cast<uint64_t>(of.machine.memory_bytes.value_or(0))) +
                     " of memory")) +
         replay::table_of({"part", "of it"}, rows);
}

std::string body_of(const machine_profile &of) {
  std::string text = tag("h1", escaped(title_of(of)));
  text += tag("p", escaped("Measured by " + of.made.by + " at " + of.made.at + " in " +
                           fixed_text(of.made.seconds.value_or(0)) + " s" +
                           (of.made.quick ? ", quick" : "") +
                           ". Speeds are of the median tenth of each point's time."));
  text += summary_table(of) + roofs_of(of) + link_table(of) + compute_table(of);
  for (const profile::tier &one : of.tiers) text += tier_section(one);
  text += picture_of(of);
  for (const std::string &note : of.notes) text += tag("p", escaped("Note: " + note + "."));
  return text;
}

}  // namespace

bool is_page(std::string_view begin, uint64_t /*bytes*/) {
  return begin.starts_with("<!DOCTYPE html>") &&
         begin.find("content=\"cubby characterize\"") != std::string_view::npos;
}

std::string page_of(const machine_profile &of) {
  // Last in, first filled: what is put in is not looked through for marks again.
  std::string text = replaced(replay::page_template, "{{data}}",
                              replay::embedded(nlohmann::json(profile::to_json(of))));
  text = replaced(std::move(text), "{{body}}", body_of(of));
  text = replaced(std::move(text), "{{title}}", escaped(title_of(of)));
  text = replaced(std::move(text), "content=\"cubby replay\"", "content=\"cubby characterize\"");
  return replaced(std::move(text), "id=\"replay\"", "id=\"profile\"");
}

}  // namespace cubby_cli::characterize
