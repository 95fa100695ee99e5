#include <algorithm>
#include <cmath>

#include "cli/plan/answer.hpp"
#include "cli/plan/formulas.hpp"

namespace cubby_cli::plan {
namespace {

/// Is a machine that offloads cheaper a token than enough of the fast memory?
bool money_pays(const question &of) {
  const auto here = look_ahead(of);
  if (!here || !here->fits() || here->parts.all_local() || !here->usd_per_million_tokens)
    return false;
  double hot = 0;
  for (const part &one : here->parts.parts)
    if (one.every_step) hot += one.bytes;
  const double devices = std::ceil(hot / here->places[0].budget_bytes);
  if (!std::isfinite(devices)) return true;  // nothing fits in no memory
  const auto there = look_ahead(with_devices(of, devices));
  return there && there->usd_per_million_tokens &&
         *here->usd_per_million_tokens < *there->usd_per_million_tokens;
}

question with_users(question of, double users) {
  const double idle = std::max(0.0, of.sessions.value - of.users.value);
  of.users.value = users;
  of.sessions.value = users + idle;
  return of;
}

question with_hits(question of, double hits) {
  of.hits = hits;
  return of;
}

break_even users_at(const answer &of) {
  break_even made = {"users", "",
                     "fewest users at whom offload costs less a token than enough "
                     "fast memory",
                     std::nullopt, ""};
  constexpr double most = 1 << 16;
  for (double users = 1; users <= most && !made.at; users *= 2) {
    if (!money_pays(with_users(of.asked, users))) continue;
    double before = std::floor(users / 2), good = users;
    while (good - before > 1) {
      const double middle = std::floor((before + good) / 2);
      (money_pays(with_users(of.asked, middle)) ? good : before) = middle;
    }
    made.at = good;
  }
  made.otherwise = of.offload.usd_per_million_tokens ? "at no number of users up to 65,536"
                                                     : "no price is known";
  return made;
}

break_even fast_memory_at(const answer &of) {
  break_even made = {"fast_users", "",
                     "most users whose KV fits beside the weights in the first "
                     "tier: up to them nothing has to be offloaded",
                     std::nullopt, ""};
  const model_shape &model = of.asked.model;
  double room = of.offload.places[0].budget_bytes;
  for (const part &one : of.offload.parts.parts)
    if (one.every_step && one.kind != part_kind::kv) room -= one.bytes;
  const double each = kv_bytes(model, of.asked.kv, of.asked.context.value);
  if (room >= each) made.at = std::floor(room / each);
  made.otherwise = "the weights alone fill it";
  return made;
}

break_even hits_for_money(const answer &of) {
  break_even made = {"hits_money", "",
                     "least expert hit ratio at which offload costs less a token "
                     "than enough fast memory",
                     std::nullopt, ""};
  if (!of.asked.model.has_experts() || of.offload.parts.all_local()) {
    made.otherwise = "no experts are offloaded";
    return made;
  }
  made.at = first_that(0, 1, [&](double hits) { return money_pays(with_hits(of.asked, hits)); });
  made.otherwise = of.offload.usd_per_million_tokens ? "at no hit ratio" : "no price is known";
  return made;
}

break_even hits_for_time(const answer &of) {
  break_even made = {"hits_time", "", "least expert hit ratio at which a token keeps its time",
                     std::nullopt, "no latency class was asked for (--slo)"};
  if (!of.asked.wanted) return made;
  made.otherwise = "at no hit ratio";
  made.at = first_that(0, 1, [&](double hits) {
    const auto here = look_ahead(with_hits(of.asked, hits));
    return here && here->fits() && here->step.step_s() <= of.asked.wanted->token_s;
  });
  return made;
}

/// KV is stored in the fastest tier below the first.
break_even context_at(const answer &of) {
  break_even made = {"context", "tokens",
                     "shortest prefix that is loaded sooner than computed anew", std::nullopt,
                     "there is no tier below the first"};
  const question &asked = of.asked;
  if (of.offload.places.size() < 2) return made;
  const place &store = of.offload.places[std::max<size_t>(1, kv_store(of.offload.parts))];
  made.meaning += " (from " + store.name + ")";
  made.otherwise = "at no length: " + store.name + " is slower than computing";
  const double most = longest_context(asked);
  const auto at = first_that(1, most, [&](double tokens) {
    return load_kv_s(asked, store, tokens) < recompute_kv_s(asked, tokens);
  });
  if (at) made.at = std::ceil(*at);
  return made;
}

/// Space for a session's KV, and the machine's time that a request saves by it.
break_even reuse_at(const answer &of) {
  break_even made = {"reuse", "",
                     "least share of a prompt to be found again at which keeping KV "
                     "costs less than computing it anew",
                     std::nullopt, "no price of the tier or of the machine is known"};
  const question &asked = of.asked;
  if (!of.offload.fits()) {
    made.otherwise = "not all finds a place";
    return made;
  }
  if (of.offload.places.size() < 2 || !of.offload.price.usd_each_s) return made;
  const place &store = of.offload.places[std::max<size_t>(1, kv_store(of.offload.parts))];
  if (!store.price_usd_per_byte) return made;
  const double idle = std::max(asked.sessions.value, asked.users.value);
  const double space_usd_s = idle * kv_bytes(asked.model, asked.kv, asked.context.value) *
                             *store.price_usd_per_byte / (asked.years.value * seconds_per_year);
  made.otherwise = "at no share";
  made.at = first_that(0.001, 1, [&](double reuse) {
    const double tokens = reuse * asked.context.value;
    const double saved_s = recompute_kv_s(asked, tokens) - load_kv_s(asked, store, tokens);
    const double each_s = requests_per_s(asked, of.offload.step, of.offload.first);
    return saved_s * each_s * *of.offload.price.usd_each_s > space_usd_s;
  });
  return made;
}

}  // namespace

std::vector<break_even> break_evens_of(const answer &of) {
  return {fast_memory_at(of), users_at(of),   hits_for_money(of),
          hits_for_time(of),  context_at(of), reuse_at(of)};
}

}  // namespace cubby_cli::plan
