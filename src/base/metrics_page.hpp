// The page on which a runtime shows its metrics to other processes (cubby_publish): a header, and
// the text of cubby_metrics() behind it. docs/metrics.md describes it for readers of their own.
#pragma once

#include <cstdint>

namespace cubby::base {

inline constexpr char metrics_page_name[] = "cubby-metrics";  // of the memfd
inline constexpr uint64_t metrics_page_bytes = 64 << 10;

/// Little-endian. `sequence` is odd while the page is being written: a reader copies what it needs,
/// and takes it where `sequence` is even and the same before and after.
struct metrics_page_header {
  char magic[8] = {'c', 'u', 'b', 'b', 'y', 'p', 'g', '1'};
  uint32_t header_bytes = 64;
  uint32_t pid = 0;  // of the runtime's process, in its own name space
  uint64_t sequence = 0;
  uint64_t published_ns = 0;  // CLOCK_MONOTONIC
  uint64_t interval_ns = 0;
  uint64_t text_bytes = 0;  // without a zero
  uint64_t lost_bytes = 0;  // of a text that is longer than the page: its last lines
  uint64_t reserved = 0;
};
static_assert(sizeof(metrics_page_header) == 64);

}  // namespace cubby::base
