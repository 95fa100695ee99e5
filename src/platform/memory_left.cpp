#include "platform/memory_left.hpp"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <fstream>
#include <string_view>

namespace cubby::platform {
namespace {

/// Of caches, in memory.stat; what is empty names none.
using cache_names = std::array<std::string_view, 3>;

struct cgroup_hierarchy {
  const char *mount, *controller, *limit, *usage;
  cache_names droppable;
};

constexpr cgroup_hierarchy known_hierarchies[] = {
    {"/sys/fs/cgroup",
     "",
     "memory.max",
     "memory.current",
     {"inactive_file", "active_file", "slab_reclaimable"}},
    {"/sys/fs/cgroup/memory",
     "memory",
     "memory.limit_in_bytes",
     "memory.usage_in_bytes",
     {"total_inactive_file", "total_active_file"}}};

std::optional<uint64_t> cgroup_number(const std::string &path) {
  std::ifstream in(path);
  uint64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;  // "max", or no such file
}

/// Sum of these of a group's memory.stat.
uint64_t cgroup_bytes(const std::string &path, const cache_names &keys) {
  std::ifstream in(path);
  std::string name;
  uint64_t sum = 0;
  for (uint64_t bytes = 0; in >> name >> bytes;)
    if (std::find(keys.begin(), keys.end(), name) != keys.end()) sum += bytes;
  return sum;
}

}  // namespace

std::string own_cgroup(const std::string &root, const std::string &controller) {
  std::ifstream in(root + "/proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
    if (controllers == (controller.empty() ? ",," : controllers) &&
        controllers.find("," + controller + ",") != std::string::npos)
      return line.substr(second + 1);
  }
  return {};
}

std::string cgroup_above(std::string group) {
  if (group == "/" || group.empty()) return {};
  group.erase(group.rfind('/'));
  return group.empty() ? "/" : group;
}

std::optional<uint64_t> cgroup_left_bytes(const std::string &root) {
  std::optional<uint64_t> least;
  for (const cgroup_hierarchy &one : known_hierarchies) {
    // From the own group up: a limit holds for all below it. In a container the group's path may
    // be that of the machine, while the mount shows the container's own group as its root.
    for (auto group = own_cgroup(root, one.controller); !group.empty();
         group = cgroup_above(group)) {
      const std::string folder = root + one.mount + (group == "/" ? "" : group) + "/";
      const auto limit = cgroup_number(folder + one.limit);
      const auto used = cgroup_number(folder + one.usage);
      if (!limit || !used) continue;
      const uint64_t taken =
          *used - std::min(*used, cgroup_bytes(folder + "memory.stat", one.droppable));
      const uint64_t left = *limit - std::min(*limit, taken);
      least = std::min(least.value_or(left), left);
    }
  }
  return least;
}

uint64_t free_memory_bytes() {
  uint64_t here = ~uint64_t{0};
  std::ifstream in("/proc/meminfo");
  for (std::string line; std::getline(in, line);)
    if (line.starts_with("MemAvailable:"))
      here = std::strtoull(line.c_str() + 13, nullptr, 10) << 10;
  return std::min(here, cgroup_left_bytes().value_or(here));
}

}  // namespace cubby::platform
