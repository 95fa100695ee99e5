#include "platform/topology.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <memory>
#include <optional>
#include <thread>

#ifdef CUBBY_HAS_HWLOC
#include <hwloc.h>
#endif

namespace cubby::platform {
namespace {

constexpr uint32_t nodes_max = 64;

std::string lower(std::string_view text) {
  std::string out(text);
  for (char &c : out) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
  return out;
}

std::optional<std::string> first_line(const std::string &path) {
  std::ifstream file(path);
  std::string line;
  if (!std::getline(file, line)) return std::nullopt;
  return line;
}

/// "0-3,8,10-11" → numbers; what is not a list, or is absurdly long, gives an empty one.
std::vector<uint32_t> parse_list(const std::string &text) {
  constexpr unsigned long number_max = 1u << 16;
  std::vector<uint32_t> numbers;
  const char *at = text.c_str();
  while (*at >= '0' && *at <= '9') {
    char *end = nullptr;
    const unsigned long first = std::strtoul(at, &end, 10);
    unsigned long last = first;
    if (*end == '-') last = std::strtoul(end + 1, &end, 10);
    if (first > last || last > number_max) return {};
    for (unsigned long n = first; n <= last; ++n) numbers.push_back(static_cast<uint32_t>(n));
    at = *end == ',' ? end + 1 : end;
  }
  return numbers;
}

uint64_t node_memory_bytes(const std::string &meminfo_path) {
  std::ifstream file(meminfo_path);
  std::string line;
  while (std::getline(file, line)) {
    const size_t at = line.find("MemTotal:");
    if (at != std::string::npos) return std::strtoull(line.c_str() + at + 9, nullptr, 10) * 1024;
  }
  return 0;
}

topology assumed_topology() {
  topology found;
  found.source = "assumed";
  numa_node node;
  const uint32_t cpu_count = std::max(1u, std::thread::hardware_concurrency());
  for (uint32_t cpu = 0; cpu < cpu_count; ++cpu) node.cpus.push_back(cpu);
  found.nodes.push_back(node);
  return found;
}

#ifdef CUBBY_HAS_HWLOC

/// The functions of hwloc that are used, found at run time: a machine without it runs all the same.
struct hwloc_calls {
  decltype(&::hwloc_get_api_version) get_api_version;
  decltype(&::hwloc_topology_init) init;
  decltype(&::hwloc_topology_destroy) destroy;
  decltype(&::hwloc_topology_load) load;
  decltype(&::hwloc_topology_set_synthetic) set_synthetic;
  decltype(&::hwloc_topology_set_io_types_filter) set_io_types_filter;
  decltype(&::hwloc_get_nbobjs_by_depth) count_at_depth;
  decltype(&::hwloc_get_obj_by_depth) object_at_depth;
  decltype(&::hwloc_bitmap_next) bitmap_next;
};

template <class Function>
bool find(void *library, const char *name, Function &out) {
  out = reinterpret_cast<Function>(::dlsym(library, name));
  return out != nullptr;
}

bool find_all(void *library, hwloc_calls &calls) {
  return find(library, "hwloc_get_api_version", calls.get_api_version) &&
         find(library, "hwloc_topology_init", calls.init) &&
         find(library, "hwloc_topology_destroy", calls.destroy) &&
         find(library, "hwloc_topology_load", calls.load) &&
         find(library, "hwloc_topology_set_synthetic", calls.set_synthetic) &&
         find(library, "hwloc_topology_set_io_types_filter", calls.set_io_types_filter) &&
         find(library, "hwloc_get_nbobjs_by_depth", calls.count_at_depth) &&
         find(library, "hwloc_get_obj_by_depth", calls.object_at_depth) &&
         find(library, "hwloc_bitmap_next", calls.bitmap_next) &&
         calls.get_api_version() >> 16 == HWLOC_API_VERSION >> 16;
}

template <class Visit>
void each_object(const hwloc_calls &calls, hwloc_topology_t tree, int depth, Visit visit) {
  const auto count =
      static_cast<unsigned>(std::max(0, static_cast<int>(calls.count_at_depth(tree, depth))));
  for (unsigned i = 0; i < count; ++i) visit(calls.object_at_depth(tree, depth, i));
}

uint64_t mask_of(const hwloc_calls &calls, hwloc_const_nodeset_t nodeset) {
  uint64_t mask = 0;
  for (int n = calls.bitmap_next(nodeset, -1); n >= 0 && n < static_cast<int>(nodes_max);
       n = calls.bitmap_next(nodeset, n)) {
    mask |= uint64_t{1} << n;
  }
  return mask;
}

topology read_tree(const hwloc_calls &calls, hwloc_topology_t tree) {
  topology found;
  found.source = "hwloc";
  each_object(calls, tree, HWLOC_TYPE_DEPTH_NUMANODE, [&](hwloc_obj_t object) {
    if (object->os_index >= nodes_max) return;
    numa_node node;
    node.number = object->os_index;
    node.memory_bytes = object->attr->numanode.local_memory;
    for (int cpu = calls.bitmap_next(object->cpuset, -1); cpu >= 0;
         cpu = calls.bitmap_next(object->cpuset, cpu)) {
      node.cpus.push_back(static_cast<uint32_t>(cpu));
    }
    found.nodes.push_back(std::move(node));
  });
  each_object(calls, tree, HWLOC_TYPE_DEPTH_PCI_DEVICE, [&](hwloc_obj_t object) {
    const auto &pci = object->attr->pcidev;
    hwloc_obj_t place = object;
    while (place != nullptr && place->nodeset == nullptr) place = place->parent;
    if (place == nullptr) return;
    char text[32];
    std::snprintf(text, sizeof text, "%04x:%02x:%02x.%x", static_cast<unsigned>(pci.domain),
                  static_cast<unsigned>(pci.bus), static_cast<unsigned>(pci.dev),
                  static_cast<unsigned>(pci.func));
    found.devices.push_back({text, mask_of(calls, place->nodeset)});
  });
  std::sort(found.nodes.begin(), found.nodes.end(),
            [](const numa_node &a, const numa_node &b) { return a.number < b.number; });
  return found;
}

#endif

}  // namespace

uint64_t topology::memory_nodes() const {
  uint64_t with_memory = 0;
  uint64_t all = 0;
  for (const numa_node &node : nodes) {
    all |= uint64_t{1} << node.number;
    if (node.memory_bytes != 0) with_memory |= uint64_t{1} << node.number;
  }
  return with_memory != 0 ? with_memory : all;
}

uint64_t topology::nodes_near(std::string_view pci_id) const {
  const uint64_t everywhere = memory_nodes();
  const std::string id = lower(pci_id);
  for (const pci_place &device : devices) {
    const uint64_t near = device.nodes & everywhere;
    if (device.pci_id == id) return near != 0 ? near : everywhere;
  }
  // A PCI id never holds a slash; one that does would lead out of the folder.
  if (id.empty() || sysfs_root.empty() || id.find('/') != std::string::npos) return everywhere;
  const auto line = first_line(sysfs_root + "/bus/pci/devices/" + id + "/numa_node");
  const long node = line ? std::strtol(line->c_str(), nullptr, 10) : -1;
  if (node < 0 || node >= static_cast<long>(nodes_max)) return everywhere;
  const uint64_t near = (uint64_t{1} << node) & everywhere;
  return near != 0 ? near : everywhere;
}

std::vector<uint32_t> topology::cpus_of(uint64_t node_mask) const {
  std::vector<uint32_t> cpus;
  for (const numa_node &node : nodes) {
    if ((node_mask >> node.number & 1) != 0) {
      cpus.insert(cpus.end(), node.cpus.begin(), node.cpus.end());
    }
  }
  std::sort(cpus.begin(), cpus.end());
  return cpus;
}

result<topology> read_topology_hwloc(const char *synthetic, const char *library) {
#ifdef CUBBY_HAS_HWLOC
  const std::unique_ptr<void, int (*)(void *)> loaded(::dlopen(library, RTLD_NOW | RTLD_LOCAL),
                                                      &::dlclose);
  if (loaded == nullptr) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "%s cannot be loaded, so NUMA nodes are read from /sys; install libhwloc15 for "
                "hwloc's view",
                library);
  }
  hwloc_calls calls{};
  if (!find_all(loaded.get(), calls)) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "%s is not hwloc 2.x, so NUMA nodes are read from /sys; install libhwloc15",
                library);
  }
  hwloc_topology_t tree = nullptr;
  if (calls.init(&tree) != 0) return fail(CUBBY_ERR_NO_MEMORY, "hwloc cannot make a topology");
  const std::unique_ptr<hwloc_topology, decltype(calls.destroy)> owner(tree, calls.destroy);
  if (synthetic != nullptr && calls.set_synthetic(tree, synthetic) != 0) {
    return fail(CUBBY_ERR_INVALID, "hwloc refuses the synthetic topology \"%s\"", synthetic);
  }
  calls.set_io_types_filter(tree, HWLOC_TYPE_FILTER_KEEP_IMPORTANT);
  if (calls.load(tree) != 0) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "hwloc cannot read this machine, so NUMA nodes are read from /sys");
  }
  topology found = read_tree(calls, tree);
  if (found.nodes.empty()) return fail(CUBBY_ERR_NOT_SUPPORTED, "hwloc lists no NUMA node");
  return found;
#else
  (void)synthetic;
  (void)library;
  return fail(CUBBY_ERR_NOT_SUPPORTED,
              "built without hwloc, so NUMA nodes are read from /sys; install libhwloc-dev and "
              "build again");
#endif
}

result<topology> read_topology_sysfs(const std::string &sysfs_root) {
  const std::string folder = sysfs_root + "/devices/system/node";
  topology found;
  found.source = "/sys";
  found.sysfs_root = sysfs_root;
  for (const uint32_t number : parse_list(first_line(folder + "/online").value_or(""))) {
    if (number >= nodes_max) continue;
    const std::string node_folder = folder + "/node" + std::to_string(number);
    numa_node node;
    node.number = number;
    node.memory_bytes = node_memory_bytes(node_folder + "/meminfo");
    node.cpus = parse_list(first_line(node_folder + "/cpulist").value_or(""));
    found.nodes.push_back(std::move(node));
  }
  if (found.nodes.empty()) {
    return fail(CUBBY_ERR_NOT_SUPPORTED,
                "%s lists no NUMA node; a kernel without NUMA or a container that hides /sys is "
                "the usual cause, and one node is assumed",
                folder.c_str());
  }
  return found;
}

topology read_topology(const char *library, const std::string &sysfs_root) {
  result<topology> by_hwloc = read_topology_hwloc(nullptr, library);
  if (by_hwloc) {
    by_hwloc->sysfs_root = sysfs_root;
    return std::move(by_hwloc).value();
  }
  result<topology> by_kernel = read_topology_sysfs(sysfs_root);
  topology found = by_kernel ? by_kernel.value() : assumed_topology();
  found.why = by_hwloc.failure().text;
  if (!by_kernel) found.why += "; " + by_kernel.failure().text;
  return found;
}

}  // namespace cubby::platform
