#include "cli/limit_places.hpp"

#include <cstdint>
#include <fstream>
#include <optional>

#include "platform/memory_left.hpp"

namespace cubby_cli {

using cubby::platform::cgroup_above;
using cubby::platform::own_cgroup;

namespace {

std::optional<uint64_t> number_in(const std::string &path) {
  std::ifstream in(path);
  uint64_t number = 0;
  if (in >> number) return number;
  return std::nullopt;  // "max", or no such file
}

bool has_word(const std::string &path, const std::string &word) {
  std::ifstream in(path);
  for (std::string one; in >> one;)
    if (one == word) return true;
  return false;
}

}  // namespace

std::vector<limit_place> limit_places(const std::string &root) {
  std::vector<limit_place> found;
  const auto add = [&](const std::string &mount, const std::string &group, const char *child,
                       const char *by) {
    found.push_back({root + mount + (group == "/" ? "" : group), child, by});
  };
  const std::string unified = "/sys/fs/cgroup", memory = "/sys/fs/cgroup/memory";
  for (std::string group = own_cgroup(root, ""); !group.empty(); group = cgroup_above(group))
    if (has_word(root + unified + group + "/cgroup.subtree_control", "memory"))
      add(unified, group, "memory.max", "cgroup-v2");
  // In a container the group's path may be the machine's, hence the root.
  const std::string own = own_cgroup(root, "memory");
  for (std::string group = own; !group.empty(); group = group == "/" ? "" : "/")
    if (number_in(root + memory + group + "/memory.limit_in_bytes"))
      add(memory, group, "memory.limit_in_bytes", "cgroup-v1");
  return found;
}

}  // namespace cubby_cli
