// All that is measured on this machine, as one profile.
#pragma once

#include "cli/characterize/plan.hpp"
#include "cli/profile/profile.hpp"

namespace cubby_cli::characterize {

/// Trouble before anything is measured where the options or a directory are unfit.
outcome<profile::machine_profile> run(const options &chosen);

}  // namespace cubby_cli::characterize
