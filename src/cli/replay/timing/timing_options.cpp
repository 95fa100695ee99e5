#include "cli/replay/timing/timing_options.hpp"

#include <algorithm>

#include "cli/replay/timing/mixed_timing.hpp"

namespace cubby_cli::replay {

trouble needs_timing() {
  return usage_trouble(
      "--link, --compute-ns, --host-capacity, --lookahead and --block-tokens are for --timing: "
      "add it, or leave them out");
}

outcome<timing_rules> read_rules(const timing_options &chosen, const object_sizes &sizes) {
  if (chosen.on && !chosen.compute_ns)
    return usage_trouble(
        "--timing needs --compute-ns N, the time that one layer, or one KV block, computes");
  if (chosen.forecast != timing_options().forecast && chosen.lookahead == 0)
    return usage_trouble(
        "--forecast says what --lookahead 1 fetches ahead: add it, or leave --forecast out");
  timing_rules made;
  for (const std::string &text : chosen.links) {
    const auto link = read_link(text);
    if (!link) return link.failure();
    link_speed &known = link->name == "host" ? made.host : made.nvme;
    if (!known.name.empty())
      return usage_trouble("link " + link->name + " is given twice; each is given once");
    known = *link;
  }
  if (chosen.on && made.host.name.empty())
    return usage_trouble("--timing needs --link host:SPEED,LATENCY, by which the device is fed");
  made.compute_ns = chosen.compute_ns.value_or(0);
  made.block_compute_ns = chosen.block_compute_ns.value_or(~uint64_t{0});  // loading is cheaper
  made.block_tokens = chosen.block_tokens;
  made.object_bytes = sizes.expert_bytes;
  made.block_bytes = sizes.block_bytes;
  if (chosen.lookahead != 0)
    made.ahead = chosen.forecast == "repeat" ? forecast::repeat : forecast::exact;
  return made;
}

namespace {

bool has_link(const timing_options &chosen, const char *name) {
  return std::any_of(chosen.links.begin(), chosen.links.end(),
                     [&](const auto &one) { return one.starts_with(name); });
}

done suits_mixed(const timing_options &chosen, const workload &of) {
  if (!has_link(chosen, "host:"))
    return usage_trouble(of.path +
                         " is replayed with experts and KV blocks in one tier, which differ "
                         "by what a miss costs: give it with --link host:SPEED,LATENCY");
  if (chosen.on && !chosen.block_compute_ns)
    return usage_trouble(
        "--timing of experts and KV blocks together needs --block-compute-ns N, the time that one "
        "block computes, beside --compute-ns, that of a layer");
  if (!chosen.host_capacity.empty() || chosen.lookahead != 0 || chosen.block_tokens != 0)
    return usage_trouble(
        "--host-capacity, --lookahead and --block-tokens are for traces of one kind; " + of.path +
        " is replayed with experts and KV blocks: leave them out");
  return nothing{};
}

}  // namespace

done suits(const timing_options &chosen, const workload &of) {
  if (of.is_mixed()) return suits_mixed(chosen, of);
  if (chosen.block_compute_ns)
    return usage_trouble("--block-compute-ns is for traces of experts and KV blocks together; " +
                         of.path + " is of " + words_for(of.kind()) + ": use --compute-ns");
  if (!chosen.on) return chosen.links.empty() ? done(nothing{}) : needs_timing();
  if (of.of_experts()) {
    if (!has_link(chosen, "nvme:") && !chosen.host_capacity.empty())
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
  rules.host_has_all = !rules.has_file() && (of.read.has_experts() || chosen.host_capacity.empty());
  rules.host_capacity = of.is_mixed() ? 0 : static_cast<uint32_t>(capacity.units);
  if (chosen.host_capacity.empty()) return rules;
  const auto asked = read_capacity(chosen.host_capacity, of, 0);
  if (!asked) return asked.failure();
  rules.host_capacity = static_cast<uint32_t>(asked->units);
  return rules;
}

miss_costs refetch_of(const timing_rules &rules, const workload &of) {
  const auto moved_ns = [&](uint64_t bytes) {
    link_queue host(rules.host, bytes), nvme(rules.nvme, bytes);
    return take_links(0, rules.has_file() ? &nvme : nullptr, host).host_ends;
  };
  const uint64_t object_ns = moved_ns(rules.object_bytes);
  switch (of.kind()) {
    case trace_kind::experts:
      return {object_ns, 0};
    case trace_kind::kv:
      return {0, std::min(object_ns, rules.compute_ns)};
    default:
      return {object_ns, std::min(moved_ns(rules.block_bytes), rules.block_compute_ns)};
  }
}

std::unique_ptr<reporter> make_clock(const workload &of, const timing_rules &rules) {
  switch (of.kind()) {
    case trace_kind::experts:
      return std::make_unique<timing>(of.schedule, rules);
    case trace_kind::kv:
      return std::make_unique<kv_timing>(of.read.kv, rules);
    default:
      return std::make_unique<mixed_timing>(of.to_play(), of.read.kv, rules);
  }
}

}  // namespace cubby_cli::replay
