#include "platform/parallel.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <new>

// For task_scheduler_handle, which oneTBB before 2021.7 has behind this.
#define TBB_PREVIEW_WAITING_FOR_WORKERS 1  // NOLINT(readability-identifier-naming)
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_scheduler_observer.h>

#include "platform/affinity.hpp"

namespace cubby::platform {
namespace {

/// oneTBB's threads end when the last of these does, unless the program uses oneTBB itself.
class scheduler {
 public:
  scheduler() : handle_(tbb::attach{}) {}
  scheduler(const scheduler &) = delete;
  scheduler &operator=(const scheduler &) = delete;
  ~scheduler() { tbb::finalize(handle_, std::nothrow); }

 private:
  tbb::task_scheduler_handle handle_;
};

/// False in a child of a process that used oneTBB: its threads are not there and its locks may be
/// held by one of them.
bool usable_here() noexcept {
  static std::atomic<pid_t> user{0};
  pid_t first = 0;
  return user.compare_exchange_strong(first, ::getpid()) || first == ::getpid();
}

/// Counts the threads that take part and keeps them on the named processors meanwhile.
class participants final : public tbb::task_scheduler_observer {
 public:
  participants(tbb::task_arena &arena, const std::vector<uint32_t> &cpus)
      : tbb::task_scheduler_observer(arena), cpus_(cpus) {
    observe(true);
  }
  ~participants() override { observe(false); }

  void on_scheduler_entry(bool is_worker) override {
    if (!is_worker) return;
    count_.fetch_add(1, std::memory_order_relaxed);
    before = current_affinity();
    run_on(cpus_);
  }
  void on_scheduler_exit(bool is_worker) override {
    if (is_worker) restore_affinity(before);
  }
  [[nodiscard]] uint32_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  static thread_local affinity before;
  const std::vector<uint32_t> &cpus_;
  std::atomic<uint32_t> count_{0};
};

thread_local affinity participants::before;

void run_alone(uint64_t count, const std::function<void(uint64_t)> &work) {
  for (uint64_t i = 0; i < count; ++i) work(i);
}

}  // namespace

uint32_t parallel_for(uint64_t count, uint32_t thread_count, const std::vector<uint32_t> &cpus,
                      const std::function<void(uint64_t)> &work) {
  const auto wanted =
      static_cast<uint32_t>(std::min<uint64_t>(std::min(thread_count, usable_cpu_count()), count));
  if (wanted < 2 || !usable_here()) {
    run_alone(count, work);
    return 1;
  }
  const scheduler threads;
  tbb::task_arena arena(static_cast<int>(wanted));
  participants ran(arena, cpus);
  std::atomic<uint64_t> next{0};
  // Pieces are taken one by one, so a thread that comes late costs nothing.
  arena.execute([&] {
    tbb::parallel_for(uint32_t{0}, wanted, [&](uint32_t) {
      for (uint64_t i = next.fetch_add(1, std::memory_order_relaxed); i < count;
           i = next.fetch_add(1, std::memory_order_relaxed)) {
        work(i);
      }
    });
  });
  return std::min(wanted, ran.count() + 1);
}

}  // namespace cubby::platform
