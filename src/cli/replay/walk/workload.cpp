#include "cli/replay/walk/workload.hpp"

#include <algorithm>
#include <cmath>

#include "cli/replay/formats/overlay.hpp"

namespace cubby_cli::replay {

outcome<workload> read_workload(const trace_wish &wish) {
  auto read = wish.with.empty() ? read_trace(wish.path, wish.limit)
                                : read_overlaid(wish.path, wish.with, wish.limit);
  if (!read) return read.failure();
  workload of;
  of.path = wish.path;
  of.read = std::move(*read);
  if (of.is_mixed()) of.sizes = wish.sizes;
  if (!of.read.has_experts() && wish.batch != 1)
    return usage_trouble("--batch is for traces of experts; " + wish.path + " is of KV blocks");
  std::vector<uint64_t> visits_before;
  if (of.read.has_experts())
    of.schedule = make_schedule(of.read.experts, wish.batch, of.read.kv.requests, visits_before);
  if (of.read.has_blocks()) of.requests = make_requests(of.read.kv, of.schedule.objects());
  of.requests.visits_before = std::move(visits_before);
  if (of.accesses() == 0) return usage_trouble(wish.path + " holds no recorded use");
  return of;
}

namespace {

/// A size in bytes, or another number; nothing when it is none.
std::optional<double> read_amount(const std::string &text, bool is_size) {
  if (is_size) return byte_count(text);
  size_t used = 0;
  try {
    const double number = std::stod(text, &used);
    if (used == text.size() && std::isfinite(number)) return number;
  } catch (const std::exception &) {
  }
  return std::nullopt;
}

std::string amount_text(const workload &of, double units) {
  return of.is_mixed() ? bytes_text(static_cast<uint64_t>(std::max(units, 0.0)))
                       : std::to_string(std::llround(units)) + " lockers";
}

std::string need_text(const workload &of, uint64_t least) {
  if (of.is_mixed())
    return "one layer of a token, or one block, alone needs " +
           amount_text(of, static_cast<double>(least));
  return of.of_experts() ? "one layer of a token alone needs " + std::to_string(least)
                         : std::string("a single block needs one");
}

}  // namespace

outcome<asked_capacity> read_capacity(const std::string &text, const workload &of, uint64_t least) {
  const bool percent = text.ends_with('%');
  const auto number =
      read_amount(percent ? text.substr(0, text.size() - 1) : text, of.is_mixed() && !percent);
  if (!number)
    return usage_trouble("capacity \"" + text + "\" is neither a share like 25% nor " +
                         (of.is_mixed() ? "a size like 8GiB" : "a number of lockers"));
  const auto all = static_cast<double>(of.units());
  if (!percent && !of.is_mixed() && *number != std::floor(*number))
    return usage_trouble("capacity " + text +
                         " is no whole number of lockers; give one, or a "
                         "share like 25%");
  const double units = std::floor((percent ? *number / 100 * all : *number) + 0.5);
  if (!(units >= static_cast<double>(least)))
    return usage_trouble("capacity " + text + " is " + amount_text(of, units) + ", and " +
                         need_text(of, least));
  if (units > all)
    return usage_trouble("capacity " + text + " is more than all " + amount_text(of, all) +
                         " of the trace");
  return asked_capacity{text, static_cast<uint64_t>(units)};
}

uint64_t least_capacity(const workload &of) {
  return std::max(of.schedule.top_k * of.sizes.expert_bytes,
                  of.read.has_blocks() ? of.sizes.block_bytes : 0);
}

}  // namespace cubby_cli::replay
