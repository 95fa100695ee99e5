#include "cli/replay/timing/link.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

namespace cubby_cli::replay {
namespace {

using nlohmann::json;

struct unit {
  const char *name;
  double factor;
};
constexpr unit speeds[] = {{"B/s", 1},
                           {"kB/s", 1e3},
                           {"KB/s", 1e3},
                           {"MB/s", 1e6},
                           {"GB/s", 1e9},
                           {"TB/s", 1e12},
                           {"KiB/s", 1024.0},
                           {"MiB/s", 1048576.0},
                           {"GiB/s", 1073741824.0},
                           {"TiB/s", 1099511627776.0}};
constexpr unit times[] = {{"ns", 1}, {"us", 1e3}, {"ms", 1e6}, {"s", 1e9}};

/// "25GB/s" in bytes a second, "10us" in nanoseconds; below 0 when it is neither.
template <size_t count>
double measured(const std::string &text, const unit (&units)[count]) {
  size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception &) {
    return -1;
  }
  for (const unit &one : units)
    if (text.substr(used) == one.name) return number * one.factor;
  return -1;
}

/// Nearest rank.
uint64_t percentile(std::vector<uint64_t> &of, double share) {
  if (of.empty()) return 0;
  const auto rank = static_cast<size_t>(std::ceil(share * static_cast<double>(of.size())));
  const auto at = of.begin() + static_cast<std::ptrdiff_t>(std::max<size_t>(rank, 1) - 1);
  std::nth_element(of.begin(), at, of.end());
  return *at;
}

}  // namespace

outcome<link_speed> read_link(const std::string &text) {
  const size_t colon = text.find(':'), comma = text.find(',');
  const auto wrong = [&](const std::string &what) {
    return usage_trouble("link \"" + text + "\": " + what +
                         "; a link is written host:25GB/s,10us or nvme:6GB/s,80us");
  };
  if (colon == std::string::npos) return wrong("it has no name before a colon");
  link_speed made;
  made.name = text.substr(0, colon);
  if (made.name != "host" && made.name != "nvme") return wrong("there are host and nvme alone");
  const size_t speed_end = comma == std::string::npos ? text.size() : comma;
  made.bytes_per_s = measured(text.substr(colon + 1, speed_end - colon - 1), speeds);
  if (!(made.bytes_per_s >= 1 && made.bytes_per_s <= 1e15)) return wrong("its speed is none");
  if (comma == std::string::npos) return made;
  const double latency = measured(text.substr(comma + 1), times);
  if (!(latency >= 0 && latency <= 1e12)) return wrong("its latency is none");
  made.latency_ns = static_cast<uint64_t>(std::llround(latency));
  return made;
}

link_queue::link_queue(const link_speed &link, uint64_t object_bytes)
    : latency_ns(link.latency_ns) {
  if (link.bytes_per_s > 0)
    move_ns = static_cast<uint64_t>(
        std::ceil(static_cast<double>(object_bytes) * 1e9 / link.bytes_per_s));
}

std::pair<uint64_t, uint64_t> link_queue::take(uint64_t asked_ns) {
  const uint64_t begins = std::max(asked_ns, free_ns);
  free_ns = begins + move_ns;  // the next one goes while this one is still on its way
  return {begins, free_ns + latency_ns};
}

move take_links(uint64_t asked_ns, link_queue *nvme, link_queue &host) {
  move made;
  made.asked = made.nvme_begins = made.nvme_ends = asked_ns;
  if (nvme != nullptr) std::tie(made.nvme_begins, made.nvme_ends) = nvme->take(asked_ns);
  std::tie(made.host_begins, made.host_ends) = host.take(made.nvme_ends);
  return made;
}

void wait_for(const move &until, uint64_t &now_ns, stalls &to) {
  const auto overlap = [&](uint64_t from, uint64_t to_ns) {
    const uint64_t begins = std::max(from, now_ns);
    return to_ns > begins ? to_ns - begins : 0;
  };
  const auto add = [&](stall_cause why, uint64_t ns) { to[static_cast<size_t>(why)] += ns; };
  add(stall_cause::nvme_queue, overlap(until.asked, until.nvme_begins));
  add(stall_cause::nvme, overlap(until.nvme_begins, until.nvme_ends));
  add(stall_cause::host_queue, overlap(until.nvme_ends, until.host_begins));
  add(stall_cause::host, overlap(until.host_begins, until.host_ends));
  now_ns = until.host_ends;
}

json spread_of(std::vector<uint64_t> &values) {
  uint64_t sum = 0;
  for (const uint64_t one : values) sum += one;
  return {{"p50_ns", percentile(values, 0.5)},
          {"p99_ns", percentile(values, 0.99)},
          {"mean_ns",
           values.empty() ? 0 : static_cast<double>(sum) / static_cast<double>(values.size())}};
}

json stall_report(const std::vector<stalls> &of, uint32_t causes, uint64_t over_ns) {
  std::vector<uint64_t> values(of.size());
  json by_cause;
  for (uint32_t cause = 0; cause < causes; ++cause) {
    for (size_t i = 0; i < of.size(); ++i) values[i] = of[i][cause];
    by_cause[stall_names[cause]] = spread_of(values);
  }
  uint64_t sum = 0;
  for (size_t i = 0; i < of.size(); ++i) {
    values[i] = 0;
    for (const uint64_t one : of[i]) values[i] += one;
    sum += values[i];
  }
  json report = spread_of(values);
  report["by_cause"] = by_cause;
  report["share"] = static_cast<double>(sum) / static_cast<double>(std::max<uint64_t>(over_ns, 1));
  return report;
}

}  // namespace cubby_cli::replay
