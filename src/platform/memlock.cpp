#include "platform/memlock.hpp"

#include <sys/resource.h>

#include <cinttypes>
#include <cstdio>
#include <memory>

#include "base/result.hpp"

namespace cubby::platform {
namespace {

constexpr uint64_t cap_ipc_lock = uint64_t{1} << 14;

uint64_t limit_bytes(rlim_t value) {
  return value == RLIM_INFINITY ? memlock_unlimited : static_cast<uint64_t>(value);
}

}  // namespace

bool memlock::allows(uint64_t bytes) const noexcept {
  if (exempt || soft_bytes == memlock_unlimited) return true;
  return locked_bytes <= soft_bytes && bytes <= soft_bytes - locked_bytes;
}

memlock read_memlock() noexcept {
  memlock found;
  rlimit limit{};
  if (::getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
    found.soft_bytes = limit_bytes(limit.rlim_cur);
    found.hard_bytes = limit_bytes(limit.rlim_max);
  }
  const std::unique_ptr<FILE, int (*)(FILE *)> status(std::fopen("/proc/self/status", "re"),
                                                      &std::fclose);
  char line[256];
  while (status != nullptr && std::fgets(line, sizeof line, status.get()) != nullptr) {
    uint64_t value = 0;
    if (std::sscanf(line, "VmLck: %" SCNu64 " kB", &value) == 1) found.locked_bytes = value * 1024;
    if (std::sscanf(line, "CapEff: %" SCNx64, &value) == 1) {
      found.exempt = (value & cap_ipc_lock) != 0;
    }
  }
  return found;
}

std::string memlock_remedy(const memlock &limit, uint64_t bytes) {
  if (limit.allows(bytes)) return {};
  const uint64_t needed_kib = (limit.locked_bytes + bytes + 1023) / 1024;
  const bool within_hard =
      limit.hard_bytes == memlock_unlimited || needed_kib <= limit.hard_bytes / 1024;
  return format_text(
      "%" PRIu64 " bytes cannot be locked: the limit is %" PRIu64 " bytes and %" PRIu64
      " are locked already; %s",
      bytes, limit.soft_bytes, limit.locked_bytes,
      within_hard
          ? format_text("run \"ulimit -l %" PRIu64 "\" in the shell first", needed_kib).c_str()
          : format_text("the hard limit is %" PRIu64
                        " bytes: raise memlock in /etc/security/limits.conf, "
                        "LimitMEMLOCK= of the service, or --ulimit memlock= of the "
                        "container",
                        limit.hard_bytes)
                .c_str());
}

}  // namespace cubby::platform
