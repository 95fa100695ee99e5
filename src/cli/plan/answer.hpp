// The whole answer to a question.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "cli/plan/cost.hpp"

namespace cubby_cli::plan {

/// What follows from one layout.
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
  [[nodiscard]] double tokens_per_s(const question &of) const {
    return of.users.value / step.step_s();
  }
  /// Those that somebody waits for: no more than readers of a paced class take.
  [[nodiscard]] double wanted_tokens_per_s(const question &of) const {
    const bool paced = of.wanted && of.wanted->paced;
    return paced ? std::min(tokens_per_s(of), of.users.value / of.wanted->token_s)
                 : tokens_per_s(of);
  }
};
outcome<outlook> look_ahead(const question &of);

/// One sentence on whether offload pays in one respect.
struct verdict {
  std::string respect;  // "memory", "time", "speed", "money", "energy", "prefixes"
  enum class kind { pays, does_not_pay, neutral } which = kind::neutral;
  std::string reason;
};
const char *name_of(verdict::kind which);

/// Where something begins to be true.
struct break_even {
  std::string name, unit, meaning;
  std::optional<double> at;
  std::string otherwise;  // why there is none
};

struct answer {
  question asked;
  outlook offload;                  // as asked
  double resident_devices = 1;      // so many hold all that is read in every step
  std::optional<outlook> resident;  // with so many
  std::vector<verdict> verdicts;
  verdict overall;
  std::vector<break_even> break_evens;
  std::vector<std::string> notes;
  chain steps;
};
outcome<answer> answer_to(const question &of);

/// The parts of an answer, each in a file of its own.
std::vector<verdict> verdicts_of(const answer &of);
verdict overall_of(const answer &of);
std::vector<break_even> break_evens_of(const answer &of);
chain chain_of(const answer &of);

}  // namespace cubby_cli::plan
