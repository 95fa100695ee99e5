// How much memory the process may still take where a container limits it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace cubby_cli {

/// This process's own cgroup for the controller ("" = version 2), from its root; empty when it has
/// none.
std::string own_cgroup(const std::string &controller);

/// What the tightest memory limit over this process leaves, caches that the kernel can drop not
/// counted as taken; nothing where there is no limit. `root` is where /sys and /proc stand.
std::optional<uint64_t> memory_left_bytes(const std::string &root = "");

}  // namespace cubby_cli
