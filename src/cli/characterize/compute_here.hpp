// What this processor makes of weights: matrix-vector products and digests.
#pragma once

#include "cli/characterize/plan.hpp"
#include "cli/characterize/steps.hpp"
#include "cli/profile/profile.hpp"

namespace cubby_cli::characterize {

class compute_here {
 public:
  /// `threads`: as many as there are processors.
  compute_here(const options &chosen, uint32_t threads) : chosen_(chosen), threads_(threads) {}
  void plan(steps &to);
  /// Puts what was measured into the profile.
  void into(profile::machine_profile &of) const;

 private:
  done products(double seconds);
  done digests(double seconds);

  const options &chosen_;
  const uint32_t threads_;
  double one_thread_ = 0, all_threads_ = 0, digest_ = 0;  // bytes a second
};

}  // namespace cubby_cli::characterize
