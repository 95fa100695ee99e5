// Which start of this machine is this? What a file system has accepted since is seen by every later
// process of the same start, whatever became of the one that wrote it.
#pragma once

#include <cstdint>

namespace cubby::platform {

/// A number for it, from the kernel's boot id; 0 = it cannot be learned.
uint64_t this_boot() noexcept;

/// For tests that cut the power of a process: from now on another number. 0: the true one again.
void pretend_boot(uint64_t number) noexcept;

}  // namespace cubby::platform
