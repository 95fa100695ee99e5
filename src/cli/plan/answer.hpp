// The whole answer to a question.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cli/plan/outlook.hpp"

namespace cubby_cli::plan {

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
/// "4 x H100 SXM", "3 such machines".
std::string resident_name(const answer &of);
outcome<answer> answer_to(const question &of);

/// The parts of an answer, each in a file of its own.
std::vector<verdict> verdicts_of(const answer &of);
verdict overall_of(const answer &of);
std::vector<break_even> break_evens_of(const answer &of);
chain chain_of(const answer &of);

}  // namespace cubby_cli::plan
