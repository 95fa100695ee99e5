#include "platform/memory_left.hpp"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "platform/host_memory.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

namespace memory_left_test {

using namespace cubby;
namespace fs = std::filesystem;

namespace {

bool write_text(const fs::path &path, const std::string &text) {
  std::ofstream out(path);
  out << text << std::flush;
  return out.good();
}

/// A memory cgroup of its own with a limit; empty folder where none can be made.
struct limited_group {
  explicit limited_group(uint64_t bytes) {
    const std::string name = "/cubby-memory-left-" + std::to_string(::getpid());
    const std::string unified = "/sys/fs/cgroup", memory = "/sys/fs/cgroup/memory";
    for (auto at = platform::own_cgroup("", ""); !at.empty(); at = platform::cgroup_above(at))
      if (make(unified + (at == "/" ? "" : at) + name, "memory.max", bytes)) return;
    make(memory + name, "memory.limit_in_bytes", bytes);
  }
  limited_group(const limited_group &) = delete;
  limited_group &operator=(const limited_group &) = delete;
  ~limited_group() {
    if (!folder.empty()) ::rmdir(folder.c_str());
  }
  bool make(const std::string &path, const char *file, uint64_t bytes) {
    if (::mkdir(path.c_str(), 0755) != 0) return false;
    if (fs::exists(path + "/" + file) && write_text(path + "/" + file, std::to_string(bytes))) {
      folder = path;
      return true;
    }
    ::rmdir(path.c_str());
    return false;
  }
  std::string folder;
};

}  // namespace

TEST_CASE("the memory that a container leaves is the least of all limits over the process") {
  char name[] = "/tmp/cubby-memory-left-XXXXXX";
  REQUIRE(::mkdtemp(name) != nullptr);
  const std::string root = name;
  const auto file = [&](const std::string &path, const std::string &text) {
    fs::create_directories((fs::path(root) / path).parent_path());
    REQUIRE(write_text(fs::path(root) / path, text));
  };
  CHECK_FALSE(platform::cgroup_left_bytes(root));
  file("proc/self/cgroup", "4:memory:/a/b\n0::/c/d\n");
  CHECK_FALSE(platform::cgroup_left_bytes(root));
  file("sys/fs/cgroup/c/d/memory.max", "max\n");
  file("sys/fs/cgroup/c/d/memory.current", "10\n");
  CHECK_FALSE(platform::cgroup_left_bytes(root));
  file("sys/fs/cgroup/c/memory.max", "1000\n");
  file("sys/fs/cgroup/c/memory.current", "300\n");
  file("sys/fs/cgroup/c/memory.stat",
       "anon 100\ninactive_file 50\nactive_file 20\nslab_reclaimable 10\n");
  CHECK(platform::cgroup_left_bytes(root) == 780);
  file("sys/fs/cgroup/memory/memory.limit_in_bytes", "500\n");
  file("sys/fs/cgroup/memory/memory.usage_in_bytes", "600\n");
  file("sys/fs/cgroup/memory/memory.stat", "total_inactive_file 150\ntotal_active_file 50\n");
  CHECK(platform::cgroup_left_bytes(root) == 100);
  fs::remove_all(root);
}

TEST_CASE("more memory than a container allows is refused, and the process is not ended for it") {
  if (cubby_test::sanitized) {
    WARN("sanitizers take more than a small limit leaves: not checked in this build");
    return;
  }
  constexpr uint64_t limit_bytes = uint64_t{192} << 20;
  const limited_group group(limit_bytes);
  if (group.folder.empty()) {
    WARN("no memory cgroup can be made here (it takes root): not checked");
    return;
  }
  const pid_t child = ::fork();
  if (child == 0) {
    if (!write_text(group.folder + "/cgroup.procs", std::to_string(::getpid()))) ::_exit(10);
    const auto left = platform::cgroup_left_bytes();
    if (!left || *left > limit_bytes) ::_exit(11);
    const auto refused = platform::take_host_memory(2 * limit_bytes, 0);
    if (refused || refused.failure().status != CUBBY_ERR_NO_MEMORY) ::_exit(12);
    if (refused.failure().needed_bytes != 2 * limit_bytes) ::_exit(13);
    const auto fits = platform::take_host_memory(limit_bytes / 4, 0);
    ::_exit(fits ? 0 : 14);
  }
  int status = 0;
  REQUIRE(child > 0);
  REQUIRE(::waitpid(child, &status, 0) == child);
  INFO("status " << status);
  REQUIRE(WIFEXITED(status));
  CHECK(WEXITSTATUS(status) == 0);
}

}  // namespace memory_left_test
