#include "base/no_thread.hpp"

namespace cubby::base {

error no_thread(int native, const std::string &what, const char *instead) {
  error made = fail_errno(native,
                          "%s could not be started: too many threads of this user or container, or "
                          "no memory for another stack; raise ulimit -u, ulimit -v or the cgroup's "
                          "pids.max%s",
                          what.c_str(), instead);
  made.status = CUBBY_ERR_NO_MEMORY;
  made.retryable = true;
  return made;
}

}  // namespace cubby::base
