// Models, machines, latency classes, prices and hit curves by name. Each entry says who published
// its numbers, and when.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/plan/hit_curve.hpp"
#include "cli/plan/shape.hpp"
#include "cli/profile/profile.hpp"

namespace cubby_cli::plan {

const std::vector<model_shape> &model_presets();
/// By its name, whatever the case; "deepseek-r1" is "deepseek-v3".
const model_shape *find_model(const std::string &name);

/// A machine whose numbers come from its makers, and what a profile has no field for.
struct machine_preset {
  std::string name, title;
  profile::machine_profile what;
  std::optional<quantity> usd_per_hour;     // rented
  std::optional<quantity> background_watt;  // of idle compute and of memory
};
const std::vector<machine_preset> &machine_presets();
const machine_preset *find_machine(const std::string &name);

/// How long a reader may wait for the first token, and for each further one.
struct latency_class {
  std::string name;
  double first_token_s = 0, token_s = 0;
  bool paced = true;  // tokens that come sooner are worth nothing more
  origin from = origin::assumed;
  std::string source;
};
const std::vector<latency_class> &latency_classes();
const latency_class *find_latency_class(const std::string &name);

/// What a provider asks for a million input tokens.
struct input_price {
  std::string name;
  double hit_usd = 0, miss_usd = 0;
  std::string source;
};
const std::vector<input_price> &input_prices();
const input_price *find_input_price(const std::string &name);

/// Of recorded routing, by `cubby replay --simulate`.
const hit_curve &recorded_hits();

/// Small letters, and a dash for each underscore or space.
std::string plain_name(std::string name);

}  // namespace cubby_cli::plan
