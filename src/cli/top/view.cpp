#include "cli/top/view.hpp"

#include <cmath>
#include <iostream>

#include "cli/printable.hpp"
#include "cli/support.hpp"

namespace cubby_cli::top {
namespace {

using nlohmann::json;

const char *const health_names[] = {"healthy", "degraded", "read-only", "bypassed"};

std::string health_of(const tier_numbers &tier) {
  const auto health = static_cast<size_t>(tier.of("health"));
  return health < std::size(health_names) ? health_names[health] : "?";
}

const tier_numbers &same_tier(const numbers &before, const tier_numbers &now) {
  static const tier_numbers none;  // it is new: all it counts came since
  for (const tier_numbers &one : before.tiers)
    if (one.name == now.name) return one;
  return none;
}

double rate(const interval &seen, double before, double now) {
  return seen.seconds > 0 ? (now - before) / seen.seconds : 0;
}

std::string whole(double value) { return count_text(static_cast<uint64_t>(std::max(0., value))); }
std::string bytes(double value) { return bytes_text(static_cast<uint64_t>(std::max(0., value))); }

/// "≤ 250 µs"; "–" where nothing was loaded.
std::string time_text(double seconds) {
  if (seconds < 0) return "–";
  if (std::isinf(seconds)) return "> 10 s";
  char text[32];
  if (seconds < 1e-3)
    std::snprintf(text, sizeof text, "≤ %g µs", seconds * 1e6);
  else if (seconds < 1)
    std::snprintf(text, sizeof text, "≤ %g ms", seconds * 1e3);
  else
    std::snprintf(text, sizeof text, "≤ %g s", seconds);
  return text;
}

/// Of what was looked for since; of everything where nothing was.
std::string hit_share(const tier_numbers &before, const tier_numbers &now) {
  double hits = now.of("hits") - before.of("hits");
  double all = hits + now.of("misses") - before.of("misses");
  if (all <= 0) {
    hits = now.of("hits");
    all = hits + now.of("misses");
  }
  return all > 0 ? percent_text(hits / all) : "–";
}

void show_stalls(const interval &seen) {
  double all = 0;
  for (const auto &[cause, seconds] : seen.now.stall_s) all += seconds;
  if (all <= 0) return;
  std::cout << "demand waited " << fixed_text(all) << " s:";
  for (const auto &[cause, seconds] : seen.now.stall_s)
    std::cout << " " << printable(cause) << " " << percent_text(seconds / all);
  std::cout << "\n";
}

json quantile_json(double seconds) {
  if (seconds < 0 || std::isinf(seconds)) return nullptr;
  return seconds;
}

}  // namespace

json describe(const interval &seen) {
  json object = {{"pid", seen.place.pid},       {"process", seen.place.process},
                 {"version", seen.now.version}, {"age_s", seen.age_s},
                 {"interval_s", seen.seconds},  {"values", seen.now.values},
                 {"stall_s", seen.now.stall_s}, {"tiers", json::array()}};
  for (const tier_numbers &tier : seen.now.tiers) {
    const tier_numbers &before = same_tier(seen.before, tier);
    const auto per_s = [&](const char *name) { return rate(seen, before.of(name), tier.of(name)); };
    json one = {{"name", tier.name}, {"backend", tier.backend}, {"values", tier.values}};
    one["received_bytes_per_s"] = per_s("received_bytes");
    one["sent_bytes_per_s"] = per_s("sent_bytes");
    one["hits_per_s"] = per_s("hits");
    one["misses_per_s"] = per_s("misses");
    if (!tier.loads.empty()) {
      one["load_count"] = tier.loads.back().count;
      one["load_sum_s"] = tier.load_sum_s;
      one["load_p50_s"] = quantile_json(quantile_s({}, tier.loads, 0.5));
      one["load_p99_s"] = quantile_json(quantile_s({}, tier.loads, 0.99));
    }
    object["tiers"].push_back(std::move(one));
  }
  return object;
}

void show(const interval &seen) {
  std::cout << printable(seen.place.process) << " (" << seen.place.pid << "), cubby "
            << printable(seen.now.version) << ", " << fixed_text(seen.age_s) << " s old\n";
  const auto total = [&](const char *name) {
    return whole(seen.now.of(name)) + " (" +
           whole(rate(seen, seen.before.of(name), seen.now.of(name))) + "/s)";
  };
  std::cout << "requests " << total("requests_completed") << ", visits " << total("visits")
            << ", tables " << bytes(seen.now.of("table_bytes")) << "\n";
  show_stalls(seen);
  std::vector<std::vector<std::string>> lines = {{"tier", "used", "of", "pinned", "hits", "in/s",
                                                  "out/s", "evicted/s", "I/Os", "waiting",
                                                  "load p50", "p99", "health"}};
  for (const tier_numbers &tier : seen.now.tiers) {
    const tier_numbers &before = same_tier(seen.before, tier);
    const auto per_s = [&](const char *name) { return rate(seen, before.of(name), tier.of(name)); };
    lines.push_back({printable(tier.name), bytes(tier.of("used_bytes")),
                     bytes(tier.of("budget_bytes")), bytes(tier.of("pinned_bytes")),
                     hit_share(before, tier), speed_text(per_s("received_bytes")),
                     speed_text(per_s("sent_bytes")), whole(per_s("evictions")),
                     whole(tier.of("io_in_flight")), whole(tier.of("io_queued")),
                     time_text(quantile_s(before.loads, tier.loads, 0.5)),
                     time_text(quantile_s(before.loads, tier.loads, 0.99)), health_of(tier)});
  }
  print_table(lines);
}

}  // namespace cubby_cli::top
