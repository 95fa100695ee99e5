#include "cli/plan/cost.hpp"

#include <algorithm>

#include "cli/plan/formulas.hpp"

namespace cubby_cli::plan {
namespace {

/// What is bought besides compute, whose own memory is in its price.
double tiers_usd(const std::vector<place> &places, const layout &parts) {
  double sum = 0;
  for (size_t at = 0; at < places.size(); at++)
    if (places[at].kind != "device" && parts.used_bytes[at] > 0)
      sum += parts.used_bytes[at] * places[at].price_usd_per_byte.value_or(0);
  return sum;
}

std::optional<double> price_known(const question &of, const std::vector<place> &places,
                                  const layout &parts) {
  if (of.price_usd) return of.price_usd->value;
  if (of.machine.price_usd) return of.machine.price_usd;
  const profile::number compute = of.machine.compute->price_usd;
  if (!compute) return std::nullopt;
  return *compute + tiers_usd(places, parts);
}

/// Are the energies of all places from which something comes known?
bool counted(const std::vector<place> &places, const step_times &step, const first_token &first) {
  if (!places[0].joules_per_byte) return false;
  for (size_t at = 1; at < places.size(); at++)
    if (step.moved_bytes[at] + first.moved_bytes[at] > 0 && !places[at].joules_per_byte)
      return false;
  return true;
}

double joules_of_moves(const std::vector<place> &places, const std::vector<double> &moved_bytes) {
  double sum = 0;
  for (size_t at = 1; at < places.size(); at++)
    if (moved_bytes[at] > 0)
      sum += move_joules(moved_bytes[at], *places[at].joules_per_byte, *places[0].joules_per_byte);
  return sum;
}

std::string in_all(const question &of) {
  return of.devices > 1 ? " for all " + short_number(of.devices) + " devices" : "";
}

double watts(const question &of) {
  return of.machine.watt.value_or(of.machine.compute->watt.value_or(0));
}

}  // namespace

machine_price price_of(const question &of, const std::vector<place> &places, const layout &parts) {
  machine_price made;
  made.watt = watts(of);
  if (of.usd_per_hour) {
    made.usd_each_s = of.usd_per_hour->value / 3600;
    made.basis = "rent of $" + short_number(of.usd_per_hour->value) + " an hour" + in_all(of);
    made.source = of.usd_per_hour->source;
    return made;
  }
  const auto price = price_known(of, places, parts);
  if (!price) {
    made.basis = "not known: give --price-usd or --usd-per-hour";
    return made;
  }
  made.price_usd = *price;
  made.usd_each_s = usd_per_s(*price, of.years.value, made.watt, of.usd_per_kwh.value);
  made.basis = "$" + short_number(*price) + " over " + short_number(of.years.value) +
               " years, and " + short_number(made.watt) + " W" + in_all(of);
  made.source = of.price_usd ? of.price_usd->source : of.machine.compute->source;
  return made;
}

energy_of_token energy_of(const question &of, const std::vector<place> &places,
                          const step_times &step, const first_token &first) {
  energy_of_token made;
  const double token_s = 1 / sustained_tokens_per_s(of, step, first);
  if (!counted(places, step, first) || !of.background_watt) {
    if (watts(of) <= 0) {
      made.basis = "not known: no energy counters, no watts; give --watt";
      return made;
    }
    made.joules = watts(of) * token_s;
    made.basis = "watts of the machine over the time of a token and of its part of the prompt";
    return made;
  }
  // A token has its share of a step and of its request's prompt.
  const double of_step = 1 / of.users.value, of_prompt = 1 / of.output_tokens.value;
  step_energy sums;
  sums.local_bytes = of_step * step.local_bytes + of_prompt * first.local_bytes;
  sums.local_joules_per_byte = *places[0].joules_per_byte;
  sums.moved_joules = of_step * joules_of_moves(places, step.moved_bytes) +
                      of_prompt * joules_of_moves(places, first.moved_bytes);
  sums.flops = of_step * step.flops + of_prompt * first.flops;
  sums.background_watt = of.background_watt->value;
  sums.step_s = token_s;
  made.joules = joules(sums);
  made.read_joules = sums.local_bytes * (sums.local_joules_per_byte + cache_joules_per_byte);
  made.moved_joules = sums.moved_joules;
  made.arithmetic_joules = sums.flops * joules_per_flop;
  made.background_joules = sums.background_watt * sums.step_s;
  made.basis = "joules of each byte and operation, and the power of a machine at rest";
  return made;
}

double requests_per_s(const question &of, const step_times &step, const first_token &first) {
  return sustained_per_s(of.users.value, first.prompt_s(), of.output_tokens.value, step.step_s());
}

double sustained_tokens_per_s(const question &of, const step_times &step,
                              const first_token &first) {
  return of.output_tokens.value * requests_per_s(of, step, first);
}

std::optional<drive_life> life_of(const question &of, const std::vector<place> &places,
                                  const layout &parts, const step_times &step,
                                  const first_token &first) {
  const size_t store = kv_store(parts);
  const part *stored = parts.find(part_kind::stored_kv);
  if (stored == nullptr || !places[store].of_files) return std::nullopt;
  const double context = of.context.value, found = context - first.new_tokens;
  // Windows are written, too, until they are full.
  const double fresh_bytes = kv_bytes(of.model, of.kv, context + of.output_tokens.value) -
                             kv_bytes(of.model, of.kv, found);
  drive_life made;
  made.name = places[store].name;
  made.write_bytes_per_s = requests_per_s(of, step, first) * fresh_bytes * stored->share_in(store);
  if (places[store].endurance_bytes && made.write_bytes_per_s > 0)
    made.years = years_of_writes(*places[store].endurance_bytes, made.write_bytes_per_s);
  return made;
}

}  // namespace cubby_cli::plan
