#include "cli/characterize/report.hpp"

#include <cstdio>
#include <iostream>

#include "cli/characterize/curves.hpp"
#include "cli/printable.hpp"

namespace cubby_cli::characterize {
namespace {

using profile::machine_profile;
using profile::number;
using profile::point;
using profile::tier;

std::string joules_text(const number &joules_per_byte) {
  return joules_per_byte ? fixed_text(*joules_per_byte * 1e9) : "-";
}

/// What the library's own path takes of the bare one's speed; "-" where one of them is missing.
std::string overhead_text(const tier &of, const point &bare) {
  if (bare.path != "bare") return "";
  const point *ours = same_load(of.curves, bare, "cubby", bare.beside);
  if (ours == nullptr || bare.bytes_per_s <= 0) return "-";
  return percent_text(1 - ours->bytes_per_s / bare.bytes_per_s);
}

/// The same where a summary is of.
std::string overhead_at(const tier &of, const std::string &op, const profile::summary &at) {
  for (const point &one : of.curves)
    if (one.op == op && one.path == "bare" && one.beside == "nothing" &&
        one.block_bytes == at.block_bytes && one.depth == at.depth)
      return overhead_text(of, one);
  return "-";
}

bool is_knee(const tier &of, const point &at) {
  for (const profile::knee &one : of.knees)
    if (one.op == at.op && one.path == at.path && one.pages == at.pages &&
        one.beside == at.beside && one.block_bytes == at.block_bytes && one.depth == at.depth)
      return true;
  return false;
}

void print_curves(const tier &of) {
  std::cout << "\n" << printable(of.name) << ": " << printable(of.source) << "\n";
  print_table(curve_lines(of));
  for (const std::string &note : of.notes) std::cout << "note: " << printable(note) << "\n";
}

}  // namespace

lines summary_lines(const machine_profile &of) {
  lines table = {{"tier", "capacity", "op", "speed", "latency", "best block", "depth", "overhead",
                  "nJ/B", "steady", "spread"}};
  for (const tier &one : of.tiers) {
    const std::string capacity =
        one.capacity_bytes ? bytes_text(static_cast<uint64_t>(*one.capacity_bytes)) : "-";
    const std::string steady = !one.steady ? "-" : *one.steady ? "yes" : "no";
    const auto spread_text = [&](const std::string &op) {
      if (!one.spread) return std::string("-");
      const number &share = op == "read" ? one.spread->read : one.spread->write;
      return share ? percent_text(*share) : "-";
    };
    for (const auto &[name, sum] : {std::pair("read", &one.read), std::pair("write", &one.write)})
      if (*sum)
        table.push_back({one.name, capacity, name, speed_text((*sum)->bytes_per_s),
                         time_text((*sum)->latency_ns), block_text((*sum)->block_bytes),
                         std::to_string((*sum)->depth), overhead_at(one, name, **sum),
                         joules_text((*sum)->joules_per_byte), steady, spread_text(name)});
  }
  return table;
}

lines curve_lines(const tier &of) {
  const bool memory = of.kind == "host";
  lines table = {{"op", memory ? "pages" : "beside", "block", memory ? "threads" : "depth", "path",
                  "speed", "p50", "p99", "p99.9", "CPU ns/B", "nJ/B", "knee", "overhead"}};
  for (const point &one : of.curves)
    table.push_back(
        {one.op, memory ? one.pages.value_or("-") : one.beside, block_text(one.block_bytes),
         std::to_string(one.depth), one.path, speed_text(one.bytes_per_s), time_text(one.p50_ns),
         time_text(one.p99_ns), time_text(one.p999_ns),
         one.cpu_ns_per_byte ? fixed_text(*one.cpu_ns_per_byte) : "-",
         joules_text(one.joules_per_byte), is_knee(of, one) ? "knee" : "", overhead_text(of, one)});
  return table;
}

std::string block_text(uint64_t bytes) {
  if (bytes >= 1u << 20 && bytes % (1u << 20) == 0) return std::to_string(bytes >> 20) + " MiB";
  if (bytes >= 1024 && bytes % 1024 == 0) return std::to_string(bytes >> 10) + " KiB";
  return std::to_string(bytes) + " B";
}

std::string time_text(const number &ns) {
  if (!ns) return "-";
  char text[32];
  const double value = *ns;
  if (value < 1e3) std::snprintf(text, sizeof text, "%.3g ns", value);
  if (value >= 1e3 && value < 1e6) std::snprintf(text, sizeof text, "%.3g us", value / 1e3);
  if (value >= 1e6 && value < 1e9) std::snprintf(text, sizeof text, "%.3g ms", value / 1e6);
  if (value >= 1e9) std::snprintf(text, sizeof text, "%.3g s", value / 1e9);
  return text;
}

void print(const machine_profile &of) {
  std::cout << printable(of.machine.host) << ": " << of.machine.processors << " processors ("
            << printable(of.machine.cpu) << "), " << of.machine.numa_nodes << " NUMA nodes, "
            << bytes_text(static_cast<uint64_t>(of.machine.memory_bytes.value_or(0)))
            << " of memory; measured in " << fixed_text(of.made.seconds.value_or(0)) << " s\n\n";
  print_table(summary_lines(of));
  std::cout << "\n";
  for (const profile::link &one : of.links)
    std::cout << "link " << printable(one.from) << " to " << printable(one.to) << ": "
              << speed_text(one.bytes_per_s) << ", " << time_text(one.latency_ns) << "\n";
  if (of.compute)
    std::cout << "products: " << speed_text(of.compute->product_bytes_per_s) << " of weights by "
              << of.compute->threads << " threads, "
              << speed_text(of.compute->one_thread_product_bytes_per_s.value_or(0)) << " by one\n";
  if (of.digest_bytes_per_s)
    std::cout << "digests: " << speed_text(*of.digest_bytes_per_s) << " by one thread\n";
  for (const tier &one : of.tiers) print_curves(one);
  for (const std::string &note : of.notes) std::cout << "note: " << printable(note) << "\n";
}

}  // namespace cubby_cli::characterize
