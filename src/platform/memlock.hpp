// How much memory this process may lock: what registered buffers and pinned frames count against.
#pragma once

#include <cstdint>
#include <string>

namespace cubby::platform {

inline constexpr uint64_t memlock_unlimited = ~uint64_t{0};

struct memlock {
  uint64_t soft_bytes = 0;    // memlock_unlimited = no limit
  uint64_t hard_bytes = 0;    // what the soft limit can be raised to without privileges
  uint64_t locked_bytes = 0;  // locked by mlock in this process now
  bool exempt = false;        // CAP_IPC_LOCK: the limit does not apply

  /// Whether `bytes` more can be locked now.
  bool allows(uint64_t bytes) const noexcept;
};

/// Of this process, now.
memlock read_memlock() noexcept;

/// A sentence for people: whether `bytes` more fit, and if not what to do. Empty when they fit.
std::string memlock_remedy(const memlock &limit, uint64_t bytes);

}  // namespace cubby::platform
