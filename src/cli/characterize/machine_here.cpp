#include "cli/characterize/machine_here.hpp"

#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "cli/characterize/file_systems.hpp"

namespace cubby_cli::characterize {
namespace {

namespace fs = std::filesystem;
using profile::ordered_json;

std::string line_of(const fs::path &path) {
  std::ifstream in(path);
  std::string line;
  std::getline(in, line);
  while (!line.empty() && line.back() == ' ') line.pop_back();
  return line;
}

/// "512K" as the kernel writes it.
uint64_t cache_bytes(const std::string &text) {
  return static_cast<uint64_t>(byte_count(text).value_or(0));
}

void add_caches(ordered_json &to) {
  std::set<std::string> seen;
  std::error_code failed;
  for (const auto &cpu : fs::directory_iterator("/sys/devices/system/cpu", failed)) {
    std::error_code none;
    for (const auto &one : fs::directory_iterator(cpu.path() / "cache", none)) {
      if (!one.path().filename().string().starts_with("index")) continue;
      const std::string level = line_of(one.path() / "level"), kind = line_of(one.path() / "type");
      const std::string cpus = line_of(one.path() / "shared_cpu_list");
      if (level.empty() || !seen.insert(level + kind + cpus).second) continue;
      to.push_back({{"type", "cache"},
                    {"level", std::strtoul(level.c_str(), nullptr, 10)},
                    {"holds", kind},
                    {"bytes", cache_bytes(line_of(one.path() / "size"))},
                    {"processors", cpus}});
    }
  }
}

void add_nodes(const platform_here &here, ordered_json &to) {
  for (const node_here &node : here.nodes)
    to.push_back({{"type", "numa_node"},
                  {"number", node.number},
                  {"memory_bytes", node.memory_bytes},
                  {"processors", node.cpus},
                  {"source", here.source}});
  for (const device_here &device : here.devices) {
    ordered_json nodes = ordered_json::array();
    for (uint32_t i = 0; i < 64; i++)
      if ((device.nodes >> i & 1) != 0) nodes.push_back(i);
    to.push_back({{"type", "pci_device"}, {"id", device.pci_id}, {"nodes", nodes}});
  }
}

}  // namespace

block_device block_device_of(uint64_t device) {
  const mounted as = mount_of(device);
  const std::string system = as.type.empty() ? "an unknown file system" : as.type;
  const fs::path entry = fs::path("/sys/dev/block") /
                         (std::to_string(major(device)) + ":" + std::to_string(minor(device)));
  std::error_code failed;
  fs::path real = fs::canonical(entry, failed);
  if (failed && as.from.empty()) return {system, nullptr};
  if (failed)
    return {system + " of " + as.from,
            {{"type", "mount"}, {"file_system", system}, {"from", as.from}}};
  const std::string name = real.filename().string();
  if (fs::exists(real / "partition", failed)) real = real.parent_path();
  const std::string model = line_of(real / "device" / "model");
  const bool rotates = line_of(real / "queue" / "rotational") == "1";
  const uint64_t sectors = std::strtoull(line_of(real / "size").c_str(), nullptr, 10);
  return {system + " on " + name + " (" + (model.empty() ? "" : model + ", ") +
              (rotates ? "said to rotate)" : "no rotation)"),
          {{"type", "block_device"},
           {"name", name},
           {"file_system", system},
           {"model", model},
           {"bytes", sectors * 512},
           {"rotates", rotates},
           {"scheduler", line_of(real / "queue" / "scheduler")}}};
}

profile::machine describe_machine(const platform_here &here, const std::vector<uint64_t> &devices) {
  profile::machine made;
  char name[256] = {};
  ::gethostname(name, sizeof name - 1);
  made.host = name;
  made.cpu = here.processor;
  for (const node_here &node : here.nodes) made.processors += node.cpus.size();
  made.numa_nodes = here.nodes.size();
  made.memory_bytes = here.memory_bytes;
  add_nodes(here, made.topology);
  add_caches(made.topology);
  std::set<uint64_t> seen;
  for (const uint64_t device : devices) {
    const block_device one = block_device_of(device);
    if (seen.insert(device).second && !one.object.is_null()) made.topology.push_back(one.object);
  }
  return made;
}

}  // namespace cubby_cli::characterize
