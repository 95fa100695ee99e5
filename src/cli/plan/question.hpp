// What is asked: a model, a machine, a load, and what things cost.
#pragma once

#include <map>
#include <optional>
#include <string>

#include "cli/plan/attention.hpp"
#include "cli/plan/hit_curve.hpp"
#include "cli/plan/presets/presets.hpp"
#include "cli/profile/profile.hpp"

namespace cubby_cli::plan {

struct question {
  model_shape model;
  kv_format kv = kv_format::bf16;

  std::string machine_name;
  profile::machine_profile machine;
  double devices = 1;  // times the memory in which products read, its links and its compute
  std::map<std::string, double> budget_bytes;  // by tier, where not nine tenths of it

  quantity context, users, output_tokens;
  quantity sessions;                  // whose KV is held, active or not
  quantity reuse;                     // share of a prompt whose KV is found
  quantity overlap;                   // share of compute behind which late moves hide
  std::optional<uint32_t> lookahead;  // layers that the route is known ahead; not said: by overlap
  bool experts_alone = false;         // a step is its routed experts, and nothing else
  std::optional<double> hits;         // of experts, given instead of by the curve
  hit_curve curve;
  std::optional<latency_class> wanted;

  std::optional<quantity> usd_per_hour, price_usd, background_watt;
  std::map<std::string, double> price_usd_per_byte, endurance_bytes;  // by tier, given
  quantity years, usd_per_kwh;
  std::optional<input_price> sells;
};

/// That the model was made for; where nobody says it, a million tokens or what is asked.
double longest_context(const question &of);

}  // namespace cubby_cli::plan
