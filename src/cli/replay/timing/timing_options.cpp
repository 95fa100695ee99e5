#include "cli/replay/timing/timing_options.hpp"

#include <algorithm>

#include "cli/replay/timing/kv_timing.hpp"

namespace cubby_cli::replay {

outcome<timing_rules> read_rules(const timing_options &chosen, uint64_t object_bytes) {
  constexpr uint64_t usual_object_bytes = 1 << 20;
  if (!chosen.compute_ns)
    return usage_trouble(
        "--timing needs --compute-ns N, the time that one layer, or one KV block, computes");
  timing_rules made;
  for (const std::string &text : chosen.links) {
    const auto link = read_link(text);
    if (!link) return link.failure();
    link_speed &known = link->name == "host" ? made.host : made.nvme;
    if (!known.name.empty())
      return usage_trouble("link " + link->name + " is told twice; each is told once");
    known = *link;
  }
  if (made.host.name.empty())
    return usage_trouble("--timing needs --link host:SPEED,LATENCY, by which the device is fed");
  made.compute_ns = *chosen.compute_ns;
  made.block_tokens = chosen.block_tokens;
  made.object_bytes = object_bytes == 0 ? usual_object_bytes : object_bytes;
  if (chosen.lookahead != 0)
    made.ahead = chosen.forecast == "repeat" ? forecast::repeat : forecast::exact;
  return made;
}

done suits(const timing_options &chosen, const workload &of) {
  if (!chosen.on) return nothing{};
  const bool has_file = std::any_of(chosen.links.begin(), chosen.links.end(),
                                    [](const auto &one) { return one.starts_with("nvme:"); });
  if (of.of_experts()) {
    if (!has_file && !chosen.host_capacity.empty())
      return usage_trouble(
          "--host-capacity needs --link nvme:SPEED,LATENCY for what it does not hold");
    if (chosen.block_tokens != 0)
      return usage_trouble("--block-tokens is for traces of KV blocks; " + of.path +
                           " is of experts, whose tokens it tells itself");
    return nothing{};
  }
  if (chosen.lookahead != 0)
    return usage_trouble("--lookahead is for traces of experts; " + of.path +
                         " is of KV blocks, whose requests load ahead by themselves: leave it out");
  return nothing{};
}

outcome<timing_rules> rules_at(const timing_options &chosen, timing_rules rules, const workload &of,
                               const asked_capacity &capacity) {
  // Blocks that a small host gives up can be computed anew, experts cannot.
  rules.host_has_all = !rules.has_file() && (of.of_experts() || chosen.host_capacity.empty());
  rules.host_capacity = capacity.lockers;
  if (chosen.host_capacity.empty()) return rules;
  const auto asked = read_capacity(chosen.host_capacity, of, 0);
  if (!asked) return asked.failure();
  rules.host_capacity = asked->lockers;
  return rules;
}

uint64_t refetch_ns(const timing_rules &rules, const workload &of) {
  link_queue host(rules.host, rules.object_bytes), nvme(rules.nvme, rules.object_bytes);
  const uint64_t moved_ns = take_links(0, rules.has_file() ? &nvme : nullptr, host).host_ends;
  return of.of_experts() ? moved_ns : std::min(moved_ns, rules.compute_ns);
}

std::unique_ptr<reporter> make_clock(const workload &of, const timing_rules &rules) {
  if (of.of_experts()) return std::make_unique<timing>(of.schedule, rules);
  return std::make_unique<kv_timing>(of.read.kv, rules);
}

}  // namespace cubby_cli::replay
