// What a runtime counts, as text for Prometheus. docs/metrics.md lists the names.
#pragma once

#include <string>

#include "engine/engine.hpp"

namespace cubby::api {

/// Replaces `out`. The pump is held. `log_dropped_count`: lines of the log that were lost.
void write_metrics(engine::parts &of, uint64_t log_dropped_count, std::string &out);

}  // namespace cubby::api
