#include "cli/replay/timing_options.hpp"

namespace cubby_cli::replay {

outcome<timing_rules> read_rules(const timing_options &chosen, uint64_t object_bytes) {
  constexpr uint64_t usual_object_bytes = 1 << 20;
  if (!chosen.compute_ns)
    return usage_trouble("--timing needs --compute-ns N, the time that one layer computes");
  timing_rules made;
  for (const std::string &text : chosen.links) {
    const auto link = read_link(text);
    if (!link) return link.failure();
    (link->name == "host" ? made.host : made.nvme) = *link;
  }
  if (made.host.name.empty())
    return usage_trouble("--timing needs --link host:SPEED,LATENCY, by which the device is fed");
  if (made.nvme.name.empty() && !chosen.host_capacity.empty())
    return usage_trouble(
        "--host-capacity needs --link nvme:SPEED,LATENCY for what it does not hold");
  made.compute_ns = *chosen.compute_ns;
  made.object_bytes = object_bytes == 0 ? usual_object_bytes : object_bytes;
  if (chosen.lookahead != 0)
    made.ahead = chosen.forecast == "repeat" ? forecast::repeat : forecast::exact;
  return made;
}

outcome<timing_rules> rules_at(const timing_options &chosen, timing_rules rules, const workload &of,
                               const asked_capacity &capacity) {
  rules.host_has_all = rules.nvme.name.empty();
  rules.host_capacity = capacity.lockers;
  if (chosen.host_capacity.empty()) return rules;
  const auto asked = read_capacity(chosen.host_capacity, of, 0);
  if (!asked) return asked.failure();
  rules.host_capacity = asked->lockers;
  return rules;
}

}  // namespace cubby_cli::replay
