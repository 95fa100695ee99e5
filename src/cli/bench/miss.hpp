// How long one absent block takes, from the request to its bytes.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/bench/reader.hpp"

namespace cubby_cli::bench {

/// Block by block in turn: pread with O_DIRECT, the library in caller pump, and in thread pump.
/// {"block_bytes","rounds","results":[{"name","p50_ns","p99_ns","ratio"}]}; ratio is to pread's
/// p50.
outcome<nlohmann::json> miss_latency(const layout &file, uint32_t rounds);

}  // namespace cubby_cli::bench
