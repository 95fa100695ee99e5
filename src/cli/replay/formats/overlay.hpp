// Two traces as one: requests of KV blocks served between the tokens of a trace of experts.
#pragma once

#include "cli/outcome.hpp"
#include "cli/replay/trace.hpp"

namespace cubby_cli::replay {

/// The trace at `path` with that at `with` laid over it, one of experts and one of KV blocks, cut
/// behind `limit` tokens. The first request comes before the first token and the last before the
/// last one, the others as their times lie between; evenly where all have one time.
outcome<trace> read_overlaid(const std::string &path, const std::string &with, uint64_t limit);

}  // namespace cubby_cli::replay
