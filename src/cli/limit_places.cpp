#include "cli/memory_here.hpp"

#include <algorithm>
#include <cstdlib>
#include <fstream>

namespace cubby_cli {
namespace {

std::string cgroup_in(const std::string &root, const std::string &controller) {
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

std::optional<uint64_t> number_in(const std::string &path) {
  std::ifstream in(path);
  uint64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;  // "max", or no such file
}

/// Pages of files that the kernel may drop, of the group's memory.stat.
uint64_t droppable_bytes(const std::string &path, const std::string &key) {
  std::ifstream in(path);
  std::string name;
  for (uint64_t bytes = 0; in >> name >> bytes;)
    if (name == key) return bytes;
  return 0;
}

bool has_word(const std::string &path, const std::string &word) {
  std::ifstream in(path);
  for (std::string one; in >> one;)
    if (one == word) return true;
  return false;
}

/// The group above; empty above the root.
std::string above(std::string group) {
  if (group == "/" || group.empty()) return {};
  group.erase(group.rfind('/'));
  return group.empty() ? "/" : group;
}

struct hierarchy {
  const char *mount, *controller, *limit, *usage, *droppable;
};

}  // namespace

std::vector<limit_place> limit_places(const std::string &root) {
  std::vector<limit_place> found;
  const auto add = [&](const std::string &mount, const std::string &group, const char *child,
                       const char *by) {
    found.push_back({root + mount + (group == "/" ? "" : group), child, by});
  };
  const std::string unified = "/sys/fs/cgroup", memory = "/sys/fs/cgroup/memory";
  for (std::string group = cgroup_in(root, ""); !group.empty(); group = above(group))
    if (has_word(root + unified + group + "/cgroup.subtree_control", "memory"))
      add(unified, group, "memory.max", "cgroup-v2");
  // In a container the group's path may be the machine's, hence the root.
  const std::string own = cgroup_in(root, "memory");
  for (std::string group = own; !group.empty(); group = group == "/" ? "" : "/")
    if (number_in(root + memory + group + "/memory.limit_in_bytes"))
      add(memory, group, "memory.limit_in_bytes", "cgroup-v1");
  return found;
}

std::optional<uint64_t> memory_left_bytes(const std::string &root) {
  constexpr hierarchy known[] = {
      {"/sys/fs/cgroup", "", "memory.max", "memory.current", "inactive_file"},
      {"/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes",
       "total_inactive_file"}};
  std::optional<uint64_t> least;
  for (const hierarchy &one : known) {
    // From the own group up: a limit holds for all below it. In a container the group's path may
    // be that of the machine, while the mount shows the container's own group as its root.
    for (auto group = cgroup_in(root, one.controller); !group.empty(); group = above(group)) {
      const std::string folder = root + one.mount + (group == "/" ? "" : group) + "/";
      const auto limit = number_in(folder + one.limit), used = number_in(folder + one.usage);
      if (limit && used) {
        const uint64_t taken =
            *used - std::min(*used, droppable_bytes(folder + "memory.stat", one.droppable));
        const uint64_t left = *limit - std::min(*limit, taken);
        least = std::min(least.value_or(left), left);
      }
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
  return std::min(here, memory_left_bytes().value_or(here));
}

}  // namespace cubby_cli
