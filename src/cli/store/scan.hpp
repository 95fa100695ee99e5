// Reads every block of a store and holds it against its digest.
#pragma once

#include <vector>

#include "cli/store/describe.hpp"

namespace cubby_cli {

struct damaged_block {
  store::block_body body;
  cubby_status status;
};

struct scanned {
  uint64_t blocks = 0, bytes = 0;  // read, the damaged ones too
  std::vector<damaged_block> damaged;
};

/// In the order in which they lie. CANCELED: `watch` said stop.
cubby::result<scanned> scan_blocks(const std::vector<store::store_file> &files,
                                   const store::block_table &blocks, const store_progress &watch);

nlohmann::json damaged_json(const std::vector<store::store_file> &files,
                            const store::space_table &spaces,
                            const std::vector<damaged_block> &damaged);

}  // namespace cubby_cli
