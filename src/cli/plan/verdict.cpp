#include "cli/plan/answer.hpp"
#include "cli/plan/formulas.hpp"
#include "cli/support.hpp"

namespace cubby_cli::plan {
namespace {

using kind = verdict::kind;

std::string gigabytes(double bytes) { return bytes_text(whole(bytes)); }
std::string times(double ratio) { return short_number(ratio) + " x"; }

verdict of_memory(const answer &of) {
  const outlook &here = of.offload;
  if (!here.fits())
    return {"memory", kind::does_not_pay,
            gigabytes(here.parts.missing_bytes) +
                " find no place in the tiers that may serve this; add a tier, or raise --budget"};
  if (here.parts.all_local())
    return {"memory", kind::does_not_pay,
            "all that every step reads fits in " + here.places[0].name +
                ": there is nothing to gain by offload"};
  return {"memory", kind::pays,
          "what does not fit in " + here.places[0].name + " has a place in slower tiers; " +
              resident_name(of) + " would hold it all"};
}

verdict of_speed(const answer &of) {
  const double ratio = of.offload.step.step_s() / of.resident->step.step_s();
  const std::string reason = "a step takes " + times(ratio) + " as long as with " +
                             resident_name(of) + "; compute waits " +
                             percent_text(of.offload.step.stall_share()) + " of the time";
  return {"speed", ratio > 1.0001 ? kind::does_not_pay : kind::neutral, reason};
}

verdict of_money(const answer &of) {
  const auto &here = of.offload.usd_per_million_tokens;
  const auto &there = of.resident->usd_per_million_tokens;
  if (!here || !there) return {"money", kind::neutral, of.offload.price.basis};
  const double ratio = *here / *there;
  return {"money", ratio < 1 ? kind::pays : kind::does_not_pay,
          "$" + short_number(*here) + " a million tokens, $" + short_number(*there) + " with " +
              resident_name(of) + ": " + times(ratio)};
}

verdict of_energy(const answer &of) {
  const auto &here = of.offload.energy.joules;
  const auto &there = of.resident->energy.joules;
  if (!here || !there) return {"energy", kind::neutral, of.offload.energy.basis};
  const double ratio = *here / *there;
  return {"energy", ratio < 1 ? kind::pays : kind::does_not_pay,
          short_number(*here) + " J a token, " + short_number(*there) + " J with " +
              resident_name(of) + ": " + times(ratio)};
}

verdict of_time(const answer &of) {
  const latency_class &wanted = *of.asked.wanted;
  const double token_s = of.offload.step.step_s(), first_s = of.offload.first.all_s();
  const bool good = token_s <= wanted.token_s && first_s <= wanted.first_token_s;
  return {"time", good ? kind::pays : kind::does_not_pay,
          wanted.name + " allows " + short_number(wanted.first_token_s) +
              " s to the first token (" + short_number(first_s) + " s here) and " +
              short_number(1e3 * wanted.token_s) + " ms a token (" + short_number(1e3 * token_s) +
              " ms here)"};
}

verdict of_prefixes(const answer &of) {
  const question &asked = of.asked;
  const size_t store = kv_store(of.offload.parts);
  const double tokens = asked.reuse.value * asked.context.value;
  if (store == 0)
    return {"prefixes", kind::neutral, "KV that is found lies in " + of.offload.places[0].name};
  const double load = load_kv_s(asked, of.offload.places[store], tokens);
  const double anew = recompute_kv_s(asked, tokens);
  return {"prefixes", load < anew ? kind::pays : kind::does_not_pay,
          "loading the KV of " + short_number(tokens) + " tokens from " +
              of.offload.places[store].name + " takes " + short_number(load) +
              " s, computing it anew " + short_number(anew) + " s"};
}

const verdict *find(const std::vector<verdict> &in, const std::string &respect) {
  for (const verdict &one : in)
    if (one.respect == respect) return &one;
  return nullptr;
}

bool fails(const std::vector<verdict> &in, const std::string &respect) {
  const verdict *one = find(in, respect);
  return one != nullptr && one->which == kind::does_not_pay;
}

}  // namespace

std::string resident_name(const answer &of) {
  const double devices = of.resident_devices * of.asked.devices;
  const std::string &place = of.asked.machine.compute->place;
  if (place == "cpu") return short_number(devices) + " such machines";
  return short_number(devices) + " x " + place;
}

const char *name_of(verdict::kind which) {
  switch (which) {
    case kind::pays:
      return "pays";
    case kind::does_not_pay:
      return "does not pay";
    default:
      return "no difference";
  }
}

std::vector<verdict> verdicts_of(const answer &of) {
  std::vector<verdict> all = {of_memory(of)};
  if (of.asked.wanted && of.offload.fits()) all.push_back(of_time(of));
  if (of.offload.fits() && !of.offload.parts.all_local() && of.resident) {
    all.push_back(of_speed(of));
    all.push_back(of_money(of));
    all.push_back(of_energy(of));
  }
  if (of.offload.fits() && of.asked.reuse.value > 0) all.push_back(of_prefixes(of));
  return all;
}

verdict overall_of(const answer &of) {
  const auto &all = of.verdicts;
  const verdict *prefixes = find(all, "prefixes");
  const bool keeps = prefixes != nullptr && prefixes->which == kind::pays;
  if (fails(all, "memory")) {
    if (of.offload.fits() && keeps && !fails(all, "time"))
      return {"overall", kind::pays, "for prefixes alone: " + prefixes->reason};
    return {"overall", kind::does_not_pay, find(all, "memory")->reason};
  }
  for (const char *respect : {"time", "money"})
    if (fails(all, respect)) return {"overall", kind::does_not_pay, find(all, respect)->reason};
  const verdict *money = find(all, "money");
  if (money != nullptr && money->which == kind::pays)
    return {"overall", kind::pays,
            money->reason + (fails(all, "energy") ? "; it does not pay for energy" : "")};
  return {"overall", kind::pays,
          "it runs, which it would not in " + of.offload.places[0].name +
              " alone; whether it is worth its price is not known: give --price-usd"};
}

}  // namespace cubby_cli::plan
