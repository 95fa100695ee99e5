// What follows from one question: layout, times, cost.
#pragma once

#include <algorithm>
#include <optional>
#include <vector>

#include "cli/plan/cost.hpp"

namespace cubby_cli::plan {

struct outlook {
  std::vector<place> places;
  layout parts;
  step_times step;
  first_token first;
  machine_price price;
  std::optional<double> usd_per_million_tokens;
  energy_of_token energy;
  std::optional<drive_life> life;

  [[nodiscard]] bool fits() const { return parts.missing_bytes <= 1; }
  /// While answers are written.
  [[nodiscard]] double tokens_per_s(const question &of) const {
    return of.users.value / step.step_s();
  }
  /// With the prompts that come before them.
  [[nodiscard]] double sustained_tokens_per_s(const question &of) const {
    return plan::sustained_tokens_per_s(of, step, first);
  }
  /// Those that somebody waits for: no more than readers of a paced class take.
  [[nodiscard]] double wanted_tokens_per_s(const question &of) const {
    const bool paced = of.wanted && of.wanted->paced;
    const double all = sustained_tokens_per_s(of);
    return paced ? std::min(all, of.users.value / of.wanted->token_s) : all;
  }
};
outcome<outlook> look_ahead(const question &of);

}  // namespace cubby_cli::plan
