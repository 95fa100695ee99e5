// How much memory the process may still take where a container limits it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace cubby_cli {

/// A group whose children can be limited in memory.
struct limit_place {
  std::string folder, file, by;  // `file` of a child takes the limit
};

/// Where a memory cgroup may be made, to be tried in turn. Of version 2 the groups from our own up
/// whose cgroup.subtree_control names memory: one that holds processes, as our own does, cannot
/// limit its children unless it is the root. `root` is where /sys and /proc stand.
std::vector<limit_place> limit_places(const std::string &root = "");

/// What the tightest memory limit over this process leaves, caches that the kernel can drop not
/// counted as taken; nothing where there is no limit. `root` is where /sys and /proc stand.
std::optional<uint64_t> memory_left_bytes(const std::string &root = "");

/// What this process may still take: what the machine has free, with what the kernel would drop of
/// its caches, and no more than memory_left_bytes(). ~0 where neither is said.
uint64_t free_memory_bytes();

}  // namespace cubby_cli
