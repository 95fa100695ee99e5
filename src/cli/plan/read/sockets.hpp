// Host memory beside several processors.
#pragma once

#include "cli/profile/profile.hpp"

namespace cubby_cli::plan {

/// Where products run on the processors, all memory that has some beside it is one tier: each part
/// of a model is read by those next to it. Nodes without processors (CXL) stay tiers. A note says
/// what was put together.
profile::machine_profile with_one_memory(profile::machine_profile of);

}  // namespace cubby_cli::plan
