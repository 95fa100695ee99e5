// A trace from a file of any known format.
#pragma once

#include <cstdint>
#include <string>

#include "cli/outcome.hpp"
#include "cli/replay/trace.hpp"

namespace cubby_cli::replay {

inline constexpr uint64_t no_limit = ~uint64_t{0};

/// `routed_experts` JSONL, requests as Mooncake or Bailian tell them (JSONL), CSV (token, layer,
/// experts), libCacheSim's oracleGeneral or the library's own format, by what it holds; plain, .xz
/// or .zst. Reads on until it has `limit` tokens, or requests where
/// there are no tokens. Trouble names the line or the byte.
outcome<trace> read_trace(const std::string &path, uint64_t limit = no_limit);

}  // namespace cubby_cli::replay
