// Sequences decoded side by side.
#pragma once

#include "cli/replay/walk/workload.hpp"

namespace cubby_cli::replay {

/// Are there as many sequences as are to be decoded side by side?
done check_batch(const workload &of, uint32_t batch);

}  // namespace cubby_cli::replay
