#include "platform/parallel.hpp"

#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <new>

// For task_scheduler_handle, which oneTBB before 2021.7 has behind this.
#define TBB_PREVIEW_WAITING_FOR_WORKERS 1
#include <tbb/global_control.h>
#include <tbb/parallel_for.h>
#include <tbb/task_arena.h>
#include <tbb/task_scheduler_observer.h>

#include "platform/affinity.hpp"

#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

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
    before_ = current_affinity();
    run_on(cpus_);
  }
  void on_scheduler_exit(bool is_worker) override {
    if (is_worker) restore_affinity(before_);
  }
  [[nodiscard]] uint32_t count() const { return count_.load(std::memory_order_relaxed); }

 private:
  static thread_local affinity before_;
  const std::vector<uint32_t> &cpus_;
  std::atomic<uint32_t> count_{0};
};

thread_local affinity participants::before_;

/// A work item on its way to a worker. oneTBB as it is installed is not built with the thread
/// sanitizer, which therefore does not see that oneTBB orders what one thread writes into a task
/// before what another reads there, and that thread's end of a task before the memory's next use.
class task {
 public:
  explicit task(const std::shared_ptr<work_item> &one) : item_(one) { acquire(); }
  task(const task &other) : item_(other.item_) { release(); }
  task &operator=(const task &) = delete;
  ~task() = default;
  void operator()() const {
    acquire();
    item_->run();
  }

 private:
#ifdef __SANITIZE_THREAD__
  static inline char order_;
  static void acquire() { __tsan_acquire(&order_); }
  static void release() { __tsan_release(&order_); }
#else
  static void acquire() {}
  static void release() {}
#endif
  struct released_at_end {
    ~released_at_end() { release(); }
  };

  released_at_end end_;  // before `item_`, so that it ends after it
  std::shared_ptr<work_item> item_;
};

class tbb_pool final : public worker_pool {
 public:
  explicit tbb_pool(uint32_t thread_count)
      : arena_(static_cast<int>(thread_count), 0), thread_count_(thread_count) {
    arena_.initialize();
  }

  [[nodiscard]] uint32_t thread_count() const override { return thread_count_; }
  bool enqueue(const std::shared_ptr<work_item> &one) noexcept override try {
    arena_.enqueue(task(one));
    return true;
  } catch (const std::exception &) {
    return false;
  }

 private:
  scheduler threads_;
  tbb::task_arena arena_;  // ends before `threads_`
  const uint32_t thread_count_;
};

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

std::unique_ptr<worker_pool> worker_pool::open(uint32_t thread_count) {
  if (thread_count == 0 || !usable_here()) return nullptr;
  // oneTBB has no more, and says so on the terminal when it is asked for them.
  const uint32_t most = std::max(2u, usable_cpu_count()) - 1;
  return std::make_unique<tbb_pool>(std::min(thread_count, most));
}

}  // namespace cubby::platform
