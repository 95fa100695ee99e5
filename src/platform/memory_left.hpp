// How much memory the process may still take before the kernel ends something for it: the machine's
// own, and what the memory cgroups over the process allow, as a container has them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace cubby::platform {

/// This process's cgroup of a controller, "" = of version 2; empty where there is none. `root` is
/// where /sys and /proc stand.
std::string own_cgroup(const std::string &root, const std::string &controller);
/// The group above; empty above the hierarchy's root, "/".
std::string cgroup_above(std::string group);

/// What the tightest memory limit over this process leaves, caches that the kernel can drop not
/// counted as taken; nothing where there is no limit. `root` is where /sys and /proc
/// stand.
std::optional<uint64_t> cgroup_left_bytes(const std::string &root = "");

/// What this process may still take: what the machine has free, with what the kernel would drop of
/// its caches, and no more than cgroup_left_bytes(). ~0 where neither is said.
uint64_t free_memory_bytes();

}  // namespace cubby::platform
