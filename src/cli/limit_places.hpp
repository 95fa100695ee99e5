// Where the memory of a child can be limited.
#pragma once

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

}  // namespace cubby_cli
