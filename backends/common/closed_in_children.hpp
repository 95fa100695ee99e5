// Descriptors that a forked child is not to have: the locks of an open file last until the last
// process that has it ends, and a child may live longer than its parent.
#pragma once
#include <pthread.h>
#include <unistd.h>

#include <mutex>
#include <new>
#include <vector>

namespace cubby_backends {

class closed_in_children {
 public:
  // False: no memory.
  static bool add(int fd) noexcept try {
    const std::lock_guard lock(all.mutex);
    all.open.push_back(fd);
    return true;
  } catch (const std::bad_alloc &) {
    return false;
  }

  // Before it is closed. Nothing is done where add() was not called.
  static void remove(int fd) noexcept {
    const std::lock_guard lock(all.mutex);
    std::erase(all.open, fd);
  }

 private:
  struct registry {
    std::mutex mutex;
    std::vector<int> open;
  };

  static registry *make() {
    auto *const made = new registry;
    // The lock is held over the fork, so that the child finds the list whole.
    ::pthread_atfork([] { all.mutex.lock(); }, [] { all.mutex.unlock(); },
                     [] {
                       for (const int fd : all.open) ::close(fd);
                       all.open.clear();
                       all.mutex.unlock();
                     });
    return made;
  }

  // Never destroyed: a fork may come late. Made as the library is loaded, so that no fork finds it
  // half made.
  static registry &all;
};

inline closed_in_children::registry &closed_in_children::all = *make();

}  // namespace cubby_backends
