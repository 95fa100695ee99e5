// Machines that are not this one: hwloc's synthetic descriptions and made-up trees of the kernel.
#include "platform/topology.hpp"

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "support/catch.hpp"

namespace topology_test {

using namespace cubby;
namespace fs = std::filesystem;

namespace {

/// A /sys of `node_count` nodes of four processors each; removed at the end.
struct fake_sysfs {
  fs::path root;

  explicit fake_sysfs(uint32_t node_count) {
    std::string name = (fs::temp_directory_path() / "cubby-sys-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    root = name;
    put("devices/system/node/online", "0-" + std::to_string(node_count - 1));
    for (uint32_t n = 0; n < node_count; ++n) {
      const std::string node = "devices/system/node/node" + std::to_string(n);
      put(node + "/cpulist", std::to_string(4 * n) + "-" + std::to_string(4 * n + 2) + "," +
                                 std::to_string(4 * n + 3));
      // The last node of eight is a memory-less one, as some accelerators' hosts have.
      const char *memory = node_count == 8 && n == 7 ? "0" : "1048576";
      put(node + "/meminfo", "Node " + std::to_string(n) + " MemTotal:       " + memory + " kB");
    }
  }
  ~fake_sysfs() { fs::remove_all(root); }
  fake_sysfs(const fake_sysfs &) = delete;
  fake_sysfs &operator=(const fake_sysfs &) = delete;

  void put(const std::string &path, const std::string &text) const {
    fs::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text << "\n";
  }
};

}  // namespace

TEST_CASE("this machine has a node with memory and processors") {
  const platform::topology here = platform::read_topology();
  INFO(here.source << ": " << here.why);
  REQUIRE_FALSE(here.nodes.empty());
  CHECK(here.memory_nodes() != 0);
  CHECK_FALSE(here.cpus_of(here.memory_nodes()).empty());
  CHECK(here.nodes_near("no such device") == here.memory_nodes());
}

TEST_CASE("synthetic machines of two and eight nodes") {
  auto two = platform::read_topology_hwloc("numa:2 core:4 pu:1");
  if (!two && two.failure().status == CUBBY_ERR_NOT_SUPPORTED) {
    WARN("hwloc is not here, synthetic machines are not checked: " << two.failure().text);
    return;
  }
  REQUIRE(two);
  CHECK(two->nodes.size() == 2);
  CHECK(two->memory_nodes() == 0b11);
  CHECK(two->cpus_of(0b10) == std::vector<uint32_t>{4, 5, 6, 7});

  auto eight = platform::read_topology_hwloc("pack:2 numa:4(memory=1GB) core:2 pu:2");
  REQUIRE(eight);
  CHECK(eight->nodes.size() == 8);
  CHECK(eight->memory_nodes() == 0xff);
  CHECK(eight->nodes[7].memory_bytes == 1'000'000'000);
  CHECK(eight->cpus_of(0x80) == std::vector<uint32_t>{28, 29, 30, 31});

  auto refused = platform::read_topology_hwloc("eight of everything");
  REQUIRE_FALSE(refused);
  CHECK(refused.failure().status == CUBBY_ERR_INVALID);
}

TEST_CASE("the kernel's tree of two nodes, and a device beside the second") {
  const fake_sysfs sys(2);
  sys.put("bus/pci/devices/0000:3b:00.0/numa_node", "1");
  sys.put("bus/pci/devices/0000:3c:00.0/numa_node", "-1");
  sys.put("bus/pci/devices/0000:3d:00.0/numa_node", "9");
  auto found = platform::read_topology_sysfs(sys.root.string());
  REQUIRE(found);
  CHECK(found->nodes.size() == 2);
  CHECK(found->memory_nodes() == 0b11);
  CHECK(found->cpus_of(0b01) == std::vector<uint32_t>{0, 1, 2, 3});
  CHECK(found->nodes_near("0000:3B:00.0") == 0b10);
  CHECK(found->nodes_near("0000:3c:00.0") == 0b11);
  CHECK(found->nodes_near("0000:3d:00.0") == 0b11);
  CHECK(found->nodes_near("../0000:3b:00.0") == 0b11);
  CHECK(found->nodes_near("") == 0b11);
}

TEST_CASE("the kernel's tree of eight nodes, one without memory") {
  const fake_sysfs sys(8);
  sys.put("bus/pci/devices/0000:01:00.0/numa_node", "7");
  auto found = platform::read_topology_sysfs(sys.root.string());
  REQUIRE(found);
  CHECK(found->nodes.size() == 8);
  CHECK(found->nodes[3].memory_bytes == uint64_t{1} << 30);
  CHECK(found->memory_nodes() == 0x7f);
  CHECK(found->cpus_of(0x81).size() == 8);
  CHECK(found->nodes_near("0000:01:00.0") == 0x7f);
}

TEST_CASE(
    "without hwloc the kernel's tree is read, without that one node is assumed; both say why") {
  const fake_sysfs sys(2);
  const auto by_kernel = platform::read_topology("libhwloc-absent.so.0", sys.root.string());
  CHECK(by_kernel.source == "/sys");
  CHECK(by_kernel.nodes.size() == 2);
  CHECK(by_kernel.why.find("hwloc") != std::string::npos);

  const auto assumed = platform::read_topology("libhwloc-absent.so.0", "/nowhere");
  CHECK(assumed.source == "assumed");
  REQUIRE(assumed.nodes.size() == 1);
  CHECK(assumed.memory_nodes() == 1);
  CHECK(assumed.why.find("/nowhere") != std::string::npos);

  // A library that is there and is not hwloc.
  CHECK(platform::read_topology("libm.so.6", sys.root.string()).source == "/sys");
}

TEST_CASE("damaged lists of the kernel's tree do not grow") {
  const fake_sysfs sys(2);
  for (const char *list : {"", "x", "5-2", "0-4000000000", "-3"}) {
    sys.put("devices/system/node/online", list);
    CHECK_FALSE(platform::read_topology_sysfs(sys.root.string()));
  }
}

}  // namespace topology_test
