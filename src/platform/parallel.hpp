// Work on several threads: loops (first touch) and small jobs beside the pump (digests). The
// threads are oneTBB's, shared by all runtimes of the process and by the program's own use of
// oneTBB; they are started when there is work and end with the last runtime that asked for them. A
// build without oneTBB makes loops with plain threads and has no worker pool.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

namespace cubby::platform {

/// Runs work(i) once for every i below `count`, on the calling thread and up to thread_count - 1
/// others, which run on `cpus` where that is allowed (empty = anywhere); never more than one a
/// processor. A thread that cannot be had costs speed only. `work` must not throw. Returns how many
/// threads ran, 1 at least.
uint32_t parallel_for(uint64_t count, uint32_t thread_count, const std::vector<uint32_t> &cpus,
                      const std::function<void(uint64_t)> &work);

/// What a worker does.
class work_item {
 public:
  virtual ~work_item() = default;
  virtual void run() noexcept = 0;
};

/// Any thread.
class worker_pool {
 public:
  /// Up to `thread_count` workers, and at most one a processor but one. nullptr when there are none
  /// to be had: a build without oneTBB, or a process that was forked from one that had workers, for
  /// oneTBB does not survive a fork. May throw bad_alloc.
  static std::unique_ptr<worker_pool> open(uint32_t thread_count);
  virtual ~worker_pool() = default;

  [[nodiscard]] virtual uint32_t thread_count() const = 0;
  /// Runs the item once, on some worker, at some time. False when there is no memory for that.
  virtual bool enqueue(const std::shared_ptr<work_item> &one) noexcept = 0;
};

}  // namespace cubby::platform
