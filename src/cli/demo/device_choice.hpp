// Which device a decode loop runs on, and by what.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "cli/outcome.hpp"

namespace cubby_cuda {
struct driver_table;
}

namespace cubby_cli::demo {

/// The machine's driver and the library's kernels, or what a test puts in their place.
struct device_choice {
  const cubby_cuda::driver_table *driver = nullptr;
  std::span<const std::byte> image;  // of the kernels
  int32_t ordinal = 0;
  uint32_t looks_max = 1u << 24;  // of a kernel that waits for an expert; each about 1 µs
};

/// The machine's. Trouble where there is no driver.
outcome<device_choice> machine_device(int32_t ordinal);

}  // namespace cubby_cli::demo
