#include "cli/plan/formulas.hpp"
#include "cli/plan/print/print.hpp"

namespace cubby_cli::plan {
namespace {

using nlohmann::json;

json value_of(const std::optional<double> &value) { return value ? json(*value) : json(nullptr); }

json model_json(const question &asked) {
  const model_shape &of = asked.model;
  return {{"name", of.name},
          {"title", of.title},
          {"origin", name_of(of.from)},
          {"source", of.source},
          {"attention", name_of(of.kind)},
          {"parameters", total_parameters(of)},
          {"active_parameters", active_parameters(of)},
          {"input_embedding_parameters", embedding_parameters(of)},
          {"routed_experts_bytes", routed_bytes(of)},
          {"expert_bytes", expert_bytes_each(of)},
          {"dense_bytes", dense_bytes(of)},
          {"table_bytes", of.table_bytes},
          {"kv_format", name_of(asked.kv)},
          {"kv_bytes_per_token", kv_bytes_per_token(of, asked.kv)},
          {"kv_bytes", kv_bytes(of, asked.kv, asked.context.value)},
          {"decode_flops", decode_flops(of, asked.context.value)},
          {"context_max", of.context_max}};
}

json quantity_json(const quantity &of) {
  return {{"value", of.value}, {"origin", name_of(of.from)}, {"source", of.source}};
}

json load_json(const question &asked) {
  json load = {{"context_tokens", quantity_json(asked.context)},
               {"users", quantity_json(asked.users)},
               {"output_tokens", quantity_json(asked.output_tokens)},
               {"sessions", quantity_json(asked.sessions)},
               {"reuse", quantity_json(asked.reuse)},
               {"overlap", quantity_json(asked.overlap)},
               {"lookahead", asked.lookahead ? json(*asked.lookahead) : json(nullptr)},
               {"experts_alone", asked.experts_alone},
               {"slo", nullptr}};
  if (asked.wanted)
    load["slo"] = {{"name", asked.wanted->name},
                   {"first_token_s", asked.wanted->first_token_s},
                   {"token_s", asked.wanted->token_s},
                   {"origin", name_of(asked.wanted->from)},
                   {"source", asked.wanted->source}};
  return load;
}

json places_json(const outlook &of) {
  json all = json::array();
  for (size_t at = 0; at < of.places.size(); at++) {
    const place &one = of.places[at];
    all.push_back({{"name", one.name},
                   {"kind", one.kind},
                   {"budget_bytes", one.budget_bytes},
                   {"used_bytes", of.parts.used_bytes[at]},
                   {"bytes_per_s", one.bytes_per_s},
                   {"speed_origin", name_of(one.speed_from)},
                   {"speed_source", one.speed_source},
                   {"latency_s", one.latency_s},
                   {"way", one.way},
                   {"serves_steps", one.serves_steps},
                   {"excluded", one.excluded},
                   {"moved_bytes_per_step", of.fits() ? json(of.step.moved_bytes[at]) : json()},
                   {"move_s", of.fits() ? json(of.step.move_s[at]) : json()},
                   {"last_read_later_s", of.fits() ? json(of.step.last_behind_s[at]) : json()},
                   {"origin", name_of(one.from)},
                   {"source", one.source}});
  }
  return all;
}

json parts_json(const outlook &of) {
  json all = json::array();
  for (const part &one : of.parts.parts)
    all.push_back({{"name", one.name},
                   {"bytes", one.bytes},
                   {"read_bytes_per_step", one.read_bytes},
                   {"placed_bytes", one.placed}});
  return all;
}

/// Where not all has a place, times and what follows from them would be those of a part.
void add_figures(const outlook &of, const question &asked, json &to) {
  to["tokens_per_s"] = of.tokens_per_s(asked);
  to["sustained_tokens_per_s"] = of.sustained_tokens_per_s(asked);
  to["token_s"] = of.step.step_s();
  to["compute_s"] = of.step.compute_s;
  to["stall_s"] = of.step.stall_s;
  to["digest_s"] = of.step.digest_s;
  to["stall_share"] = of.step.stall_share();
  to["expert_hits"] = of.step.hits;
  to["first_token_s"] = of.first.all_s();
  to["kv_load_s"] = of.first.load_s;
  to["usd_per_million_tokens"] = value_of(of.usd_per_million_tokens);
  to["joules_per_token"] = value_of(of.energy.joules);
  if (of.energy.joules) to["joules_per_million_tokens"] = 1e6 * *of.energy.joules;
  if (of.life)
    to["drive"] = {{"name", of.life->name},
                   {"write_bytes_per_s", of.life->write_bytes_per_s},
                   {"years", value_of(of.life->years)}};
}

json outlook_json(const outlook &of, const question &asked) {
  json made = {{"fits", of.fits()},           {"missing_bytes", of.parts.missing_bytes},
               {"tiers", places_json(of)},    {"parts", parts_json(of)},
               {"usd_basis", of.price.basis}, {"joules_basis", of.energy.basis}};
  for (const char *figure :
       {"tokens_per_s", "sustained_tokens_per_s", "token_s", "compute_s", "stall_s", "digest_s",
        "stall_share", "expert_hits", "first_token_s", "kv_load_s", "usd_per_million_tokens",
        "joules_per_token", "joules_per_million_tokens", "drive"})
    made[figure] = nullptr;
  if (of.fits()) add_figures(of, asked, made);
  return made;
}

json steps_json(const answer &of) {
  json all = json::array();
  for (const step &one : of.steps.steps())
    all.push_back({{"name", one.name},
                   {"value", one.value},
                   {"unit", one.unit},
                   {"origin", name_of(one.from)},
                   {"formula", one.formula},
                   {"source", one.source}});
  return all;
}

json verdict_json(const verdict &one) {
  return {{"respect", one.respect}, {"verdict", name_of(one.which)}, {"reason", one.reason}};
}

}  // namespace

json json_of(const answer &of) {
  json made = {{"model", model_json(of.asked)},
               {"profile", of.asked.machine_name},
               {"load", load_json(of.asked)},
               {"plan", outlook_json(of.offload, of.asked)},
               {"resident_devices", of.resident_devices * of.asked.devices},
               {"resident", nullptr},
               {"verdict", verdict_json(of.overall)},
               {"notes", of.notes},
               {"chain", steps_json(of)}};
  if (of.resident)
    made["resident"] = outlook_json(*of.resident, with_devices(of.asked, of.resident_devices));
  for (const verdict &one : of.verdicts) made["verdicts"].push_back(verdict_json(one));
  for (const break_even &one : of.break_evens)
    made["break_even"][one.name] = {{"at", value_of(one.at)},
                                    {"unit", one.unit},
                                    {"meaning", one.meaning},
                                    {"otherwise", one.at ? "" : one.otherwise}};
  if (of.asked.sells) {
    const input_price &list = *of.asked.sells;
    made["input_price"] = {
        {"list", list.name},
        {"source", list.source},
        {"usd",
         input_usd(of.asked.context.value, of.asked.reuse.value, list.hit_usd, list.miss_usd)},
        {"usd_all_found", input_usd(of.asked.context.value, 1, list.hit_usd, list.miss_usd)},
        {"usd_none_found", input_usd(of.asked.context.value, 0, list.hit_usd, list.miss_usd)}};
  }
  return made;
}

}  // namespace cubby_cli::plan
