#include "cli/plan/answer.hpp"

#include <algorithm>
#include <cmath>

namespace cubby_cli::plan {
namespace {

/// All that is read in every step.
double hot_bytes(const layout &parts) {
  double sum = 0;
  for (const part &one : parts.parts)
    if (one.every_step) sum += one.bytes;
  return sum;
}

/// So many times the first place hold it all.
double devices_for(const outlook &of) {
  const double room = of.places[0].budget_bytes;
  return room > 0 ? std::max(1.0, std::ceil(hot_bytes(of.parts) / room)) : 0;
}

/// Options that change nothing, for the price that counts has it in it.
void add_idle_options(const question &of, std::vector<std::string> &to) {
  if (!of.usd_per_hour) return;
  const std::string rent = " does not change the price, as the machine is rented at $" +
                           short_number(of.usd_per_hour->value) +
                           " an hour; --price-usd reckons with one that is bought";
  if (of.usd_per_kwh.from == origin::given) to.push_back("--usd-per-kwh" + rent);
  for (const auto &[tier, usd] : of.price_usd_per_byte)
    to.push_back("--price " + tier +
                 " counts for the KV of other sessions alone (break-even reuse), as the machine is "
                 "rented at $" +
                 short_number(of.usd_per_hour->value) + " an hour");
}

std::vector<std::string> notes_of(const answer &of) {
  std::vector<std::string> notes = of.asked.machine.notes;
  for (const std::string &note : left_out_of(of.asked)) notes.push_back(note);
  add_idle_options(of.asked, notes);
  for (const place &one : of.offload.places)
    if (!one.excluded.empty()) notes.push_back(one.name + " serves no step: " + one.excluded);
  const model_shape &model = of.asked.model;
  if (model.table_bytes > 0 && model.kind == attention::entry)
    notes.push_back("what layers read of the KV entries of others is not counted");
  const profile::tier *unsteady = nullptr;
  for (const profile::tier &one : of.asked.machine.tiers)
    if (one.steady && !*one.steady) unsteady = &one;
  if (unsteady != nullptr)
    notes.push_back(unsteady->name + " was not steady when it was measured; its speed may be off");
  return notes;
}

}  // namespace

outcome<answer> answer_to(const question &of) {
  answer made;
  made.asked = of;
  auto offload = look_ahead(of);
  if (!offload) return offload.failure();
  made.offload = std::move(*offload);
  made.resident_devices = devices_for(made.offload);
  if (made.resident_devices >= 1) {
    auto resident = look_ahead(with_devices(of, made.resident_devices));
    if (!resident) return resident.failure();
    made.resident = std::move(*resident);
  }
  made.notes = notes_of(made);
  made.verdicts = verdicts_of(made);
  made.overall = overall_of(made);
  made.break_evens = break_evens_of(made);
  made.steps = chain_of(made);
  return made;
}

}  // namespace cubby_cli::plan
