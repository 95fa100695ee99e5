// Threads for small jobs beside the pump (digests).
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace cubby::platform {

/// What a worker does.
class work_item {
 public:
  virtual ~work_item() = default;
  virtual void run() noexcept = 0;
};

/// Where work can be left for another thread. Any thread.
class worker_pool {
 public:
  virtual ~worker_pool() = default;
  [[nodiscard]] virtual uint32_t thread_count() const = 0;
  /// Runs the item once, on some worker, at some time. False when there is no memory for that, or
  /// no thread could be started.
  virtual bool enqueue(const std::shared_ptr<work_item> &one) noexcept = 0;
};

/// Plain threads, started one by one as there is work for them, that end with the pool: what waits
/// then is not run. They take no signals. A child of fork has none of them and must not use it.
class thread_pool final : public worker_pool {
 public:
  /// Up to `thread_count` workers, at least 1, and at most one a processor but one.
  explicit thread_pool(uint32_t thread_count);
  thread_pool(const thread_pool &) = delete;
  thread_pool &operator=(const thread_pool &) = delete;
  /// Waits for the items that run.
  ~thread_pool() override;

  [[nodiscard]] uint32_t thread_count() const override { return thread_count_; }
  bool enqueue(const std::shared_ptr<work_item> &one) noexcept override;

 private:
  bool start_one() noexcept;
  void work() noexcept;

  const uint32_t thread_count_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::shared_ptr<work_item>> waiting_;  // the oldest first
  size_t idle_count_ = 0;
  bool closed_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace cubby::platform
