#include "cli/plan/speed.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "cli/plan/formulas.hpp"
#include "cli/plan/layer_walk.hpp"

namespace cubby_cli::plan {
namespace {

constexpr double of_peak_flops = 0.4;  // what prompts reach of a device's peak

/// Shares of the experts used that are found in each place: what a curve gives for the places
/// together, less what the faster ones have.
std::vector<double> expert_shares(const question &of, const part *experts, size_t places) {
  std::vector<double> shares(places, 0);
  if (experts == nullptr) return shares;
  double held = 0, found = 0;
  for (size_t at = 0; at < places; at++) {
    if (experts->placed[at] <= 0) continue;
    held += experts->share_in(at);
    double hits = of.curve.at(held);
    if (of.hits && held < 1 - 1e-9) hits = *of.hits + (1 - *of.hits) * (at == 0 ? 0 : hits);
    if (held >= 1 - 1e-9) hits = 1;
    shares[at] = std::max(0.0, hits - found);
    found = std::max(found, hits);
  }
  return shares;
}

/// Of so many experts that are asked for together, what is in flight.
double in_flight_bytes(const question &of, double experts) {
  const bool ahead = of.lookahead && *of.lookahead > 0;
  return std::min(experts * expert_bytes_each(of.model),
                  ahead ? ahead_bytes_max : demand_bytes_max);
}

/// Where a layer misses some, how many it does in the mean.
double missing_at_once(const question &of, double share) {
  const double each = experts_in_step(of), hit = layers_with_misses(1, each, share);
  return hit > 0 ? std::max(1.0, each * share / hit) : 1;
}

void add_experts(const question &of, const std::vector<place> &places, const part &experts,
                 step_times &made) {
  made.hits = made.expert_share[0];
  for (size_t at = 1; at < places.size(); at++) {
    const double share = made.expert_share[at], bytes = share * experts.read_bytes;
    made.moved_bytes[at] += bytes;
    const double asked_bytes = in_flight_bytes(of, missing_at_once(of, share));
    made.expert_bytes_per_s[at] = places[at].speed_with(asked_bytes);
    made.last_behind_s[at] = places[at].last_behind_s(asked_bytes);
    const double took_s = move_s(
        bytes, made.expert_bytes_per_s[at],
        layers_with_misses(of.model.moe_layers, experts_in_step(of), share), places[at].latency_s);
    made.move_s[at] += took_s;
    made.late_move_s += took_s;
  }
}

/// How many experts of a layer the places before `at` have not: as a recording counted it, else as
/// if each was missing by itself.
std::vector<double> missing_before(const question &of, const part &experts, const step_times &made,
                                   size_t at) {
  double held = 0, found = 0;
  for (size_t i = 0; i < at; i++) {
    held += experts.share_in(i);
    found += made.expert_share[i];
  }
  const auto *counted = of.hits ? nullptr : of.curve.missing_at(held);
  if (counted != nullptr && held > 0) return *counted;
  return binomial_misses(static_cast<uint32_t>(std::lround(experts_in_step(of))), 1 - found);
}

using stage = layer_walk::stage;

/// Reading experts there, as many at once as a layer misses. Where reads were measured by how many
/// are in flight, their latency is in that.
stage reading_stage(const question &of, const place &from) {
  const double each_bytes = expert_bytes_each(of.model);
  stage made;
  made.latency_s = from.speed_in_flight.empty() ? from.passages.front().latency_s : 0;
  for (int count = 1; count <= std::lround(experts_in_step(of)); count++) {
    const double asked_bytes = in_flight_bytes(of, count);
    made.move_s.push_back(each_bytes / from.reads_with(asked_bytes));
    made.last_s.push_back(from.last_behind_s(asked_bytes));
  }
  return made;
}

/// What an expert passes from there, each stage with a number for its name that is the same for all
/// ways over it. What the library's own reads did not verify, one thread digests.
std::vector<stage> stages_from(const question &of, const place &from,
                               std::map<std::string, uint32_t> &servers) {
  const double each_bytes = expert_bytes_each(of.model);
  std::vector<stage> made;
  const auto add = [&](const std::string &name, stage one) {
    one.server = servers.try_emplace(name, static_cast<uint32_t>(servers.size())).first->second;
    made.push_back(std::move(one));
  };
  add(from.passages.front().name, reading_stage(of, from));
  const auto &digest = of.machine.digest_bytes_per_s;
  if (digest && !from.digests_in_reads) add("digests", {0, {each_bytes / *digest}, {}, 0});
  for (size_t i = 1; i < from.passages.size(); i++) {
    const passage &onward = from.passages[i];
    add(onward.name, {0, {each_bytes / onward.bytes_per_s}, {}, onward.latency_s});
  }
  return made;
}

/// What is known a layer ahead at most. `hidden_s`: of compute, behind which other moves hide.
double foreseen_stall_s(const question &of, const std::vector<place> &places, const part &experts,
                        const step_times &made, double hidden_s) {
  layer_walk by;
  by.layers = of.model.moe_layers;
  by.experts = std::round(experts_in_step(of));
  by.compute_s = std::max(0.0, made.compute_s - hidden_s) / by.layers;
  by.ahead = *of.lookahead > 0;
  std::map<std::string, uint32_t> servers;
  for (size_t at = 1; at < places.size(); at++) {
    if (experts.placed[at] <= 0) continue;
    by.ways.push_back(
        {missing_before(of, experts, made, at), stages_from(of, places[at], servers)});
  }
  return walk_stall_s(by);
}

double stall_of(const question &of, const std::vector<place> &places, const layout &parts,
                const step_times &made) {
  const part *experts = parts.find(part_kind::experts);
  if (!of.lookahead || experts == nullptr)
    return stall_s(made.compute_s, made.known_move_s, made.late_move_s, of.overlap.value);
  const double hidden_s = std::min(made.compute_s, made.known_move_s);
  return made.known_move_s - hidden_s + foreseen_stall_s(of, places, *experts, made, hidden_s);
}

/// Each chunk of a prompt reads the dense weights and nearly all experts, each layer's known before
/// it is computed.
void add_prompt_weights(const question &of, const std::vector<place> &places, const layout &parts,
                        first_token &made) {
  const double chunks = std::max(1.0, made.new_tokens / prompt_chunk_tokens);
  for (const part &one : parts.parts) {
    double used = 1, layers = of.model.layers;
    if (one.kind == part_kind::experts) {
      used = distinct_experts(of.model.routed_experts, of.model.top_k,
                              std::min(made.new_tokens, prompt_chunk_tokens)) /
             of.model.routed_experts;
      layers = of.model.moe_layers;
    } else if (one.kind != part_kind::dense) {
      continue;
    }
    made.local_bytes += chunks * used * one.bytes;
    for (size_t at = 1; at < places.size(); at++) {
      const double bytes = chunks * used * one.placed[at];
      made.moved_bytes[at] += bytes;
      made.move_s += move_s(bytes, places[at].bytes_per_s, chunks * layers, places[at].latency_s);
    }
  }
}

}  // namespace

step_times time_step(const question &of, const std::vector<place> &places, const layout &parts) {
  step_times made;
  made.moved_bytes.assign(places.size(), 0);
  made.move_s.assign(places.size(), 0);
  made.expert_bytes_per_s.assign(places.size(), 0);
  made.last_behind_s.assign(places.size(), 0);
  made.expert_share = expert_shares(of, parts.find(part_kind::experts), places.size());
  for (const part &one : parts.parts) {
    made.local_bytes += one.read_bytes;
    if (one.kind == part_kind::experts) {
      add_experts(of, places, one, made);
      continue;
    }
    for (size_t at = 1; at < places.size(); at++) {
      const double bytes = one.share_in(at) * one.read_bytes;
      made.moved_bytes[at] += bytes;
      const double rounds = one.every_step ? of.model.layers : 1;
      const double took_s = move_s(bytes, places[at].bytes_per_s, rounds, places[at].latency_s);
      made.move_s[at] += took_s;
      made.known_move_s += took_s;
    }
  }
  made.flops = of.users.value * decode_flops(of.model, of.context.value);
  made.compute_s = product_s(made.local_bytes, places[0].bytes_per_s, made.flops,
                             of.machine.compute->flop_per_s);
  if (of.machine.digest_bytes_per_s)
    for (const double bytes : made.moved_bytes)
      made.digest_s += bytes / *of.machine.digest_bytes_per_s;
  made.stall_s = stall_of(of, places, parts, made);
  return made;
}

quantity prompt_flop_per_s(const question &of) {
  const profile::compute &compute = *of.machine.compute;
  if (compute.flop_per_s)
    return {of_peak_flops * *compute.flop_per_s, origin::assumed,
            "0.4 of the peak: " + compute.source};
  return {2 * compute.product_bytes_per_s / active_weight_bytes(of.model), origin::derived,
          "two operations a weight at the speed of products of one vector: a lower bound, as no "
          "peak is known"};
}

size_t kv_store(const layout &parts) {
  const part *stored = parts.find(part_kind::stored_kv);
  if (stored == nullptr) stored = parts.find(part_kind::kv);
  size_t last = 0;
  for (size_t at = 0; at < stored->placed.size(); at++)
    if (stored->placed[at] > 0) last = at;
  return last;
}

double load_kv_s(const question &of, const place &from, double tokens) {
  return move_s(kv_bytes(of.model, of.kv, tokens), from.bytes_per_s, 1, from.latency_s);
}

double recompute_kv_s(const question &of, double tokens) {
  return prefill_flops(of.model, 0, tokens) / prompt_flop_per_s(of).value;
}

first_token time_first(const question &of, const std::vector<place> &places, const layout &parts,
                       const step_times &step) {
  first_token made;
  made.moved_bytes.assign(places.size(), 0);
  const double context = of.context.value, found = of.reuse.value * context;
  made.new_tokens = context - found;
  made.flops = prefill_flops(of.model, found, context);
  made.compute_s = made.flops / prompt_flop_per_s(of).value;
  add_prompt_weights(of, places, parts, made);
  if (found > 0) {
    made.load_bytes = kv_bytes(of.model, of.kv, found);
    // Sessions are spread over the places as their KV is.
    const part *stored = parts.find(part_kind::stored_kv);
    for (size_t at = 1; stored != nullptr && at < places.size(); at++) {
      if (stored->placed[at] <= 0) continue;
      made.moved_bytes[at] += stored->share_in(at) * made.load_bytes;
      made.load_s += stored->share_in(at) * load_kv_s(of, places[at], found);
    }
  }
  made.step_s = step.step_s();
  return made;
}

}  // namespace cubby_cli::plan
