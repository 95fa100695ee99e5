// Writes to space that was taken and never written, in order, one at a time: what a store does that
// is new, and dearer than the same once more where the file system has to note what was written.
#pragma once

#include "cli/characterize/measured.hpp"
#include "cli/characterize/work_file.hpp"

namespace cubby_cli::characterize {

/// For so long, or as far as there is space. Trouble where space cannot be taken beforehand.
outcome<figures> first_writes(const work_file &in, uint64_t block_bytes, double seconds,
                              energy_source &energy);

}  // namespace cubby_cli::characterize
