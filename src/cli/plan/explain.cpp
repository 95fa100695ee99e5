#include "cli/plan/answer.hpp"
#include "cli/plan/formulas.hpp"

namespace cubby_cli::plan {
namespace {

constexpr const char *roofline = "roofline, Williams et al., CACM 2009";
constexpr const char *energy_model = "arXiv 2508.06978 and its code";
constexpr const char *transformer = "2 operations a parameter: Kaplan et al., arXiv 2001.08361";
constexpr const char *own = "docs/plan.md";

std::string text(double value) { return short_number(value); }

const char *kv_source(attention kind) {
  switch (kind) {
    case attention::heads:
      return "keys and values of each KV head: GQA, arXiv 2305.13245";
    case attention::latent:
      return "latents and rotary keys: MLA, arXiv 2405.04434; fp8 as FlashMLA lays it out";
    default:
      return "compressed entries: arXiv 2606.19348; fp8 as FlashMLA's MODEL1 lays it out";
  }
}

void add_model(const question &asked, chain &to) {
  const model_shape &model = asked.model;
  const quantity of_model = {0, model.from, model.source};
  const auto input = [&](const char *name, double value) {
    if (value != 0) to.input(name, "", {value, of_model.from, of_model.source});
  };
  input("layers", model.layers);
  input("hidden", model.hidden);
  input("query heads", model.q_heads);
  input("KV heads", model.kv_heads);
  input("routed experts", model.routed_experts);
  input("experts a token", model.top_k);
  to.derive("parameters", "", total_parameters(model), "routed experts + backbone + embeddings",
            own);
  to.derive("active parameters", "", active_parameters(model),
            "backbone + output matrix + MoE layers x experts a token x parameters of one", own);
  to.derive("routed experts", "B", routed_bytes(model),
            model.expert_bytes
                ? "of the file"
                : text(routed_parameters(model)) + " parameters x " +
                      text(model.expert_weight_bytes) + " B (" + model.expert_type + ")",
            model.source);
  to.derive("dense weights", "B", dense_bytes(model),
            model.dense_bytes ? "of the file"
                              : "other parameters x " + text(model.dense_weight_bytes) + " B (" +
                                    model.dense_type + ")",
            model.source);
  to.derive("KV a token", "B", kv_bytes_per_token(model, asked.kv),
            "sum over layers of " + text(kv_entry_bytes(model, asked.kv)) + " B an entry (" +
                name_of(asked.kv) + ")",
            kv_source(model.kind));
}

void add_load(const question &asked, chain &to) {
  to.input("context", "tokens", asked.context);
  to.input("users", "", asked.users);
  to.input("output", "tokens", asked.output_tokens);
  to.input("sessions", "", asked.sessions);
  to.input("reuse of prompts", "", asked.reuse);
  to.input("moves hidden behind compute", "", asked.overlap);
  to.derive("KV of a user", "B", kv_bytes(asked.model, asked.kv, asked.context.value),
            "entries behind " + text(asked.context.value) + " tokens", kv_source(asked.model.kind));
  if (asked.wanted)
    to.input("time for a token", "s",
             {asked.wanted->token_s, asked.wanted->from, asked.wanted->source});
}

void add_places(const answer &of, chain &to) {
  for (const place &one : of.offload.places) {
    to.input(one.name + " budget", "B",
             {one.budget_bytes,
              of.asked.budget_bytes.count(one.name) != 0 ? origin::given : origin::assumed,
              "0.9 of " + text(one.capacity_bytes) + " B: " + one.source});
    to.input(one.name + " bandwidth", "B/s",
             {one.bytes_per_s, one.speed_from, one.way + ": " + one.speed_source});
    if (one.latency_s > 0)
      to.input(one.name + " latency", "s", {one.latency_s, one.from, one.source});
  }
}

/// What holds up a layer beside the mean of its reads.
void add_stages(const answer &of, chain &to) {
  const step_times &step = of.offload.step;
  const auto &digest = of.asked.machine.digest_bytes_per_s;
  for (size_t at = 1; at < of.offload.places.size(); at++) {
    const place &from = of.offload.places[at];
    if (step.expert_bytes_per_s[at] <= 0) continue;
    if (step.last_behind_s[at] > 0)
      to.derive("last read of a layer from " + from.name, "s later", step.last_behind_s[at],
                "expected longest of the reads in flight less their mean, by a curve through p50, "
                "p99 and p99.9 of one",
                own);
    if (digest && !from.digests_in_reads)
      to.derive("digest of an expert from " + from.name, "s",
                expert_bytes_each(of.asked.model) / *digest, "bytes / digests of one thread", own);
    for (size_t i = 1; i < from.passages.size(); i++)
      to.derive("an expert over " + from.passages[i].name, "s",
                expert_bytes_each(of.asked.model) / from.passages[i].bytes_per_s,
                "bytes / bandwidth, one after the other", own);
  }
}

void add_step(const answer &of, chain &to) {
  const step_times &step = of.offload.step;
  const question &asked = of.asked;
  if (asked.model.has_experts()) {
    to.derive("different experts of a layer in a step", "", experts_in_step(asked),
              "E (1 - (1 - k/E)^users)", "independent, even choices; assumed");
    to.input("expert hits in " + of.offload.places[0].name, "",
             {step.hits, asked.hits ? origin::given : asked.curve.from,
              asked.hits ? "--hit" : asked.curve.source});
  }
  to.derive("bytes that products read", "B", step.local_bytes,
            "dense + experts of the step + KV behind each user", own);
  to.derive("operations", "", step.flops, "users x (2 x active + attention)", transformer);
  to.derive("compute", "s", step.compute_s,
            "max(bytes / " + text(of.offload.places[0].bytes_per_s) + " B/s, operations / peak)",
            roofline);
  for (size_t at = 1; at < of.offload.places.size(); at++)
    if (step.moved_bytes[at] > 0)
      to.derive("moved from " + of.offload.places[at].name, "B", step.moved_bytes[at],
                "what a step reads x its share there", own);
  for (size_t at = 1; at < of.offload.places.size(); at++)
    if (step.expert_bytes_per_s[at] > 0)
      to.derive(
          "experts from " + of.offload.places[at].name, "B/s", step.expert_bytes_per_s[at],
          "the curve over depth, with as many in flight as a layer misses, " +
              text((asked.lookahead && *asked.lookahead > 0 ? ahead_bytes_max : demand_bytes_max) /
                   (1 << 20)) +
              " MiB at most",
          own);
  if (asked.lookahead) add_stages(of, to);
  to.derive("moves known beforehand", "s", step.known_move_s, "bytes / bandwidth + latencies", own);
  to.derive("moves known when needed", "s", step.late_move_s, "bytes / bandwidth + latencies", own);
  to.derive("stall", "s", step.stall_s,
            asked.lookahead
                ? "64 steps walked layer by layer: reads, digests and links take one expert after "
                  "the other, the last read of a layer is later, products wait for it"
                : "moves that compute does not hide",
            own);
  to.derive("tokens a second", "1/s", of.offload.tokens_per_s(asked), "users / (compute + stall)",
            own);
}

void add_first(const answer &of, chain &to) {
  const first_token &first = of.offload.first;
  if (of.asked.model.has_experts())
    to.input("prompt tokens computed together", "",
             {prompt_chunk_tokens, origin::assumed,
              "as engines cut prompts; each chunk needs all dense weights, nearly all experts"});
  to.input("arithmetic of prompts", "1/s", prompt_flop_per_s(of.asked));
  to.derive("prompt operations", "", first.flops,
            text(first.new_tokens) + " new tokens x (2 x active + attention)", transformer);
  to.derive("first token", "s", first.all_s(),
            "max(operations / arithmetic, weights moved " + text(first.move_s) +
                " s) + KV loaded " + text(first.load_s) + " s + one step",
            own);
}

void add_cost(const answer &of, chain &to) {
  const question &asked = of.asked;
  const outlook &here = of.offload;
  to.derive("tokens a second with their prompts", "1/s", here.sustained_tokens_per_s(asked),
            "users x output / (users x prompt " + text(here.first.prompt_s()) +
                " s + output x step " + text(here.step.step_s()) + " s)",
            own);
  if (here.price.usd_each_s) {
    to.input("years of use", "", asked.years);
    to.input("electricity", "$/kWh", asked.usd_per_kwh);
    to.derive("money", "$/s", *here.price.usd_each_s, here.price.basis, here.price.source);
    to.derive("money a million tokens", "$", *here.usd_per_million_tokens,
              "10^6 x $/s / " + text(here.wanted_tokens_per_s(asked)) +
                  " tokens a second that are waited for",
              own);
  }
  if (here.energy.joules)
    to.derive("energy a token", "J", *here.energy.joules,
              here.energy.background_joules > 0
                  ? "read " + text(here.energy.read_joules) + " + moved " +
                        text(here.energy.moved_joules) + " + arithmetic " +
                        text(here.energy.arithmetic_joules) + " + at rest " +
                        text(here.energy.background_joules)
                  : here.energy.basis,
              energy_model);
  if (here.life && here.life->years)
    to.derive("life of " + here.life->name, "years", *here.life->years,
              "endurance / (requests a second x new KV of each x share there = " +
                  text(here.life->write_bytes_per_s) +
                  " B/s); no write amplification: blocks are "
                  "large",
              own);
}

}  // namespace

chain chain_of(const answer &of) {
  chain made;
  add_model(of.asked, made);
  add_load(of.asked, made);
  add_places(of, made);
  if (!of.offload.fits()) return made;  // times of a part of the model are times of nothing
  add_step(of, made);
  add_first(of, made);
  add_cost(of, made);
  return made;
}

}  // namespace cubby_cli::plan
