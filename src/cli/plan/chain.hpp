// Numbers with where they come from, and the chain of formulas that leads from them to an answer.
#pragma once

#include <string>
#include <vector>

namespace cubby_cli::plan {

/// measured: by characterize or replay. preset: published, `source` says by whom and when. file: of
/// the model's own file. given: by the words of the command. derived: by a formula. assumed: by
/// nobody; `source` says why.
enum class origin { measured, preset, file, given, derived, assumed };
const char *name_of(origin from);
/// Of a profile's "measured", "preset" or "assumed"; assumed where it is none of them.
origin origin_named(const std::string &name);

/// An input.
struct quantity {
  double value = 0;
  origin from = origin::assumed;
  std::string source;
};

/// One line of --explain.
struct step {
  std::string name, unit;
  double value = 0;
  origin from = origin::derived;
  std::string formula;  // of what is derived, with its numbers
  std::string source;   // of the number, or of the formula
};

class chain {
 public:
  /// Gives the value back, so that a step may be noted where it is taken.
  double input(const std::string &name, const std::string &unit, const quantity &what);
  double derive(const std::string &name, const std::string &unit, double value,
                const std::string &formula, const std::string &source);
  [[nodiscard]] const std::vector<step> &steps() const { return steps_; }

 private:
  std::vector<step> steps_;
};

/// Four digits: "13.1", "0.0042", "1.57e+12".
std::string short_number(double value);

}  // namespace cubby_cli::plan
