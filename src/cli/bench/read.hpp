// Random verified reads of blocks, compared with other readers.
#pragma once

#include <nlohmann/json.hpp>

#include "cli/bench/compare.hpp"

namespace cubby_cli::bench {

/// One size of block: {"block_bytes","depth","gb_per_s","ratio","cpu_ns_per_read"}. `against` are
/// of bare, fio, pread; those that this machine lacks go to `skipped`.
outcome<nlohmann::json> read_blocks(const layout &file, const std::vector<std::string> &against,
                                    const rounds &wanted, nlohmann::json &skipped,
                                    progress_line &line);
/// For people.
void print_reads(const nlohmann::json &all);

}  // namespace cubby_cli::bench
