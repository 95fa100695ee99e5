// Limits of the process, set for real in a child so that this one keeps its own.
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdint>
#include <functional>

#include "platform/host_memory.hpp"
#include "platform/memlock.hpp"
#include "support/catch.hpp"
#include "support/sanitized.hpp"

namespace limits_test {

using namespace cubby;

namespace {

/// Runs `body` in a child; its return value is the child's exit status.
int in_child(const std::function<int()> &body) {
  const pid_t child = ::fork();
  if (child == 0) ::_exit(body());
  int status = 0;
  if (child < 0 || ::waitpid(child, &status, 0) != child) return -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST_CASE("ulimit -l 64 is read, and what does not fit is reported with the remedy") {
  const int status = in_child([] {
    rlimit limit{};
    if (::getrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 10;
    limit.rlim_cur = 64 * 1024;
    if (::setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 11;
    platform::memlock found = platform::read_memlock();
    if (found.soft_bytes != 64 * 1024) return 12;
    found.exempt = false;  // root is exempt; the rule for everyone else is what is checked
    if (!found.allows(64 * 1024 - found.locked_bytes)) return 13;
    if (found.allows(64 * 1024 + 1)) return 14;
    const std::string text = platform::memlock_remedy(found, 1 << 20);
    if (text.find("ulimit -l") == std::string::npos &&
        text.find("limits.conf") == std::string::npos)
      return 15;
    if (!platform::memlock_remedy(found, 4096).empty()) return 16;
    return 0;
  });
  CHECK(status == 0);
}

TEST_CASE("a hard limit below the need names the places to raise it") {
  platform::memlock limit;
  limit.soft_bytes = 65536;
  limit.hard_bytes = 65536;
  limit.locked_bytes = 4096;
  CHECK_FALSE(limit.allows(65536));
  CHECK(platform::memlock_remedy(limit, 65536).find("limits.conf") != std::string::npos);
  limit.hard_bytes = platform::memlock_unlimited;
  CHECK(platform::memlock_remedy(limit, 65536).find("ulimit -l 68") != std::string::npos);
  limit.exempt = true;
  CHECK(limit.allows(~uint64_t{0}));
  limit.exempt = false;
  limit.soft_bytes = platform::memlock_unlimited;
  CHECK(limit.allows(~uint64_t{0}));
  CHECK(platform::memlock_remedy(limit, 65536).empty());
}

TEST_CASE("a small address space gives NO_MEMORY with the bytes that are needed") {
  if (cubby_test::sanitized) {
    WARN("sanitizers map more than any small address space: not checked in this build");
    return;
  }
  const int status = in_child([] {
    const rlimit small{uint64_t{256} << 20, uint64_t{256} << 20};
    if (::setrlimit(RLIMIT_AS, &small) != 0) return 10;
    const uint64_t bytes = uint64_t{300} << 20;
    const auto refused = platform::take_host_memory(bytes, 0);
    if (refused) return 11;
    if (refused.failure().status != CUBBY_ERR_NO_MEMORY) return 12;
    if (refused.failure().needed_bytes != bytes) return 13;
    if (refused.failure().text.find("ulimit -v") == std::string::npos) return 14;
    // What fits is given, also when there is no room for another thread's stack.
    const auto taken = platform::take_host_memory(uint64_t{128} << 20, 0, {64, {}});
    if (!taken) return 15;
    if (static_cast<unsigned char *>(taken->base)[taken->bytes - 1] != 0) return 16;
    platform::give_host_memory(*taken);
    return 0;
  });
  CHECK(status == 0);
}

}  // namespace limits_test
