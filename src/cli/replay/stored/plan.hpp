// Where and how the blocks of a trace are stored for `cubby replay --io --store`.
#pragma once

#include "cli/replay/real_bytes.hpp"

namespace cubby_cli::replay {

inline constexpr uint64_t stored_page_bytes = 4096;

struct stored_plan {
  std::string directory;
  uint64_t block_bytes = 0, store_bytes = 0;
  uint32_t columns = 0;  // blocks of the trace
  /// The same trace, read as far, has the same space and the same bytes in each block.
  std::string space;
  uint64_t series = 0;
};

outcome<stored_plan> read_plan(const io_options &chosen, const workload &of);

}  // namespace cubby_cli::replay
