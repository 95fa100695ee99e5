// What is to be measured, one step after the other, and how long each may take.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "cli/outcome.hpp"

namespace cubby_cli::characterize {

/// Seconds for a point: as given, else so that all ends in time, else enough for tails.
struct pace {
  std::optional<double> point_seconds;  // --runtime
  std::optional<double> all_seconds;    // --quick
};

class steps {
 public:
  /// `points` of a measurement, which get their seconds handed, and `fixed_seconds` beside them as
  /// far as can be said beforehand.
  using action = std::function<done(double point_seconds)>;
  void add(std::string what, double points, double fixed_seconds, action run);
  /// In the order in which they were added. Progress and the time left go to stderr.
  done run(const pace &allowed, progress_line &line) const;

 private:
  struct step {
    std::string what;
    double points, fixed_seconds;
    action run;
  };
  /// What has been used and what is still to come.
  struct balance {
    double used_seconds = 0, points_left = 0, fixed_left = 0;
  };
  static double seconds_of(const pace &allowed, const balance &at);
  std::vector<step> all_;
};

}  // namespace cubby_cli::characterize
