// CLOCK_MONOTONIC in nanoseconds: the only clock of the library, read by the pump and handed down.
#pragma once

#include <ctime>

#include <cstdint>

namespace cubby::base {

inline constexpr uint64_t never_ns = ~uint64_t{0};

[[nodiscard]] inline uint64_t now_ns() noexcept {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000u + static_cast<uint64_t>(now.tv_nsec);
}

}  // namespace cubby::base
