// Whether calls may go through to a handle of the C interface: not once it is being closed, and not
// in a child of fork. Used with the interpreter's lock held, except where it says otherwise.
#pragma once

#include <pthread.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <thread>

#include <cubby/cubby.h>

namespace pycubby {

// Counts forks seen from the child's side, so that looking costs no system call.
inline std::atomic<uint32_t> fork_count{0};

inline void watch_forks() {
  pthread_atfork(nullptr, nullptr, [] { fork_count.fetch_add(1, std::memory_order_relaxed); });
}

class gate {
 public:
  bool forked() const noexcept { return fork_count.load(std::memory_order_relaxed) != born_; }
  bool closed() const noexcept { return closed_.load(std::memory_order_relaxed); }

  // OK and one more inside, or why not.
  cubby_status enter() noexcept {
    if (forked()) return CUBBY_ERR_FORKED;
    if (closed()) return CUBBY_ERR_SHUTDOWN;
    inside_.fetch_add(1, std::memory_order_relaxed);
    return CUBBY_OK;
  }
  void leave() noexcept { inside_.fetch_sub(1, std::memory_order_release); }

  // False when it was shut before.
  bool shut() noexcept { return !closed_.exchange(true); }
  void reopen() noexcept { closed_.store(false); }

  // Until nobody is inside. Without the interpreter's lock.
  void settle() const noexcept {
    while (inside_.load(std::memory_order_acquire) != 0) {
      std::this_thread::sleep_for(std::chrono::microseconds(200));
    }
  }

 private:
  std::atomic<bool> closed_{false};
  std::atomic<uint32_t> inside_{0};
  const uint32_t born_ = fork_count.load(std::memory_order_relaxed);
};

}  // namespace pycubby
