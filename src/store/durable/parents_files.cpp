#include "store/durable/parents_files.hpp"

#include <pthread.h>
#include <unistd.h>

#include <mutex>
#include <vector>

namespace cubby::store {
namespace {

struct registry {
  std::mutex mutex;
  std::vector<int> open;
};

/// Never destroyed: a fork may come late. Made as the library is loaded, so that no fork finds it
/// half made.
registry &all = *[] {
  auto *const made = new registry;
  // The lock is held over the fork, so that the child finds the list whole.
  ::pthread_atfork([] { all.mutex.lock(); }, [] { all.mutex.unlock(); },
                   [] {
                     for (const int fd : all.open) ::close(fd);
                     all.open.clear();
                     all.mutex.unlock();
                   });
  return made;
}();

}  // namespace

void close_in_children(int fd) {
  const std::lock_guard lock(all.mutex);
  all.open.push_back(fd);
}

void forget_in_children(int fd) noexcept {
  const std::lock_guard lock(all.mutex);
  std::erase(all.open, fd);
}

}  // namespace cubby::store
