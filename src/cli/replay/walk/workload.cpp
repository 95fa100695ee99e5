#include "cli/replay/walk/workload.hpp"

#include <cmath>

#include "cli/replay/walk/simulate.hpp"

namespace cubby_cli::replay {

outcome<workload> read_workload(const std::string &path, uint32_t batch, uint64_t limit) {
  auto read = read_trace(path, limit);
  if (!read) return read.failure();
  workload of;
  of.path = path;
  of.read = std::move(*read);
  if (of.read.of_experts) {
    of.schedule = make_schedule(of.read.experts, batch);
  } else if (batch != 1) {
    return usage_trouble("--batch is for traces of experts; " + path + " is of KV blocks");
  } else {
    of.next = next_touches(of.read.kv);
  }
  if (of.accesses() == 0) return usage_trouble(path + " holds no recorded use");
  return of;
}

outcome<asked_capacity> read_capacity(const std::string &text, const workload &of, uint32_t least) {
  const bool percent = text.ends_with('%');
  size_t used = 0;
  double number = -1;
  try {
    number = std::stod(text, &used);
  } catch (const std::exception &) {
    used = 0;
  }
  if (used == 0 || used + (percent ? 1 : 0) != text.size() || !std::isfinite(number))
    return usage_trouble("capacity \"" + text +
                         "\" is neither a share like 25% nor a number of lockers");
  const uint32_t all = of.lockers();
  const double lockers = std::floor((percent ? number / 100 * all : number) + 0.5);
  if (!(lockers >= least))
    return usage_trouble(
        "capacity " + text + " is " + std::to_string(std::llround(lockers)) + " lockers, and " +
        (of.of_experts() ? "one layer of a token alone needs " + std::to_string(least)
                         : std::string("a single block needs one")));
  if (lockers > all)
    return usage_trouble("capacity " + text + " is more than all " + std::to_string(all) +
                         " lockers of the trace");
  return asked_capacity{text, static_cast<uint32_t>(lockers)};
}

}  // namespace cubby_cli::replay
