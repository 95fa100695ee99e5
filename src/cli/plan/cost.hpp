// What tokens cost in money and joules, and drives in years.
#pragma once

#include <optional>
#include <string>

#include "cli/plan/speed.hpp"

namespace cubby_cli::plan {

struct machine_price {
  std::optional<double> usd_each_s;  // nothing where no price is known
  double price_usd = 0, watt = 0;    // of what is bought
  std::string basis, source;
};
/// Rent where it is known, else the price of compute and of the tiers used, over their years, and
/// electricity.
machine_price price_of(const question &of, const std::vector<place> &places, const layout &parts);

struct energy_of_token {
  std::optional<double> joules;  // nothing where neither counters nor watts are known
  double read_joules = 0, moved_joules = 0, arithmetic_joules = 0, background_joules = 0;
  std::string basis;
};
/// Of an answer's tokens, each with its part of the prompt.
energy_of_token energy_of(const question &of, const std::vector<place> &places,
                          const step_times &step, const first_token &first);

struct drive_life {
  std::string name;
  double write_bytes_per_s = 0;
  std::optional<double> years;
};
/// Of the place where KV of other sessions lies, when it is a drive; requests end and begin with no
/// pause between them.
std::optional<drive_life> life_of(const question &of, const std::vector<place> &places,
                                  const layout &parts, const step_times &step,
                                  const first_token &first);

/// Requests a second of all users together, one after the other with no pause. Their answers share
/// steps; their prompts do not, as each takes the whole machine.
double requests_per_s(const question &of, const step_times &step, const first_token &first);
/// Tokens of answers that go with them.
double sustained_tokens_per_s(const question &of, const step_times &step, const first_token &first);

}  // namespace cubby_cli::plan
