// Digests of what has been read or is to be copied: work items with a completion of their own, made
// by workers where the runtime has some and by the pump itself where it has nothing better to do.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

#include "base/bounded_queue.hpp"
#include "base/digest.hpp"
#include "platform/worker_pool.hpp"

namespace cubby::transfer {

/// Is called when the digests of one of its jobs are there.
class digest_owner {
 public:
  /// `tag` is the owner's number for the job.
  virtual void digested(uint32_t tag) = 0;

 protected:
  ~digest_owner() = default;
};

/// Consecutive chunks of one part of one locker. Bytes and digests stay valid until digested().
struct digest_job {
  const std::byte *bytes = nullptr;
  uint64_t size_bytes = 0;
  uint64_t first_bytes = 0;    // of the first chunk
  uint64_t chunk_bytes = 0;    // of each later one but the last, which has what is left
  base::chunk_identity first;  // of the first chunk
  uint64_t *digests = nullptr;
  digest_owner *owner = nullptr;
  uint32_t tag = 0;
};

void make_digests(const digest_job &job) noexcept;

/// For whoever holds the pump, but for has_finished().
class verifier {
 public:
  /// Calls `wake(context)` from a worker when a job has ended while the pump may sleep.
  struct waker {
    void (*wake)(void *context) = nullptr;
    void *context = nullptr;
  };

  verifier() = default;
  verifier(const verifier &) = delete;
  verifier &operator=(const verifier &) = delete;
  /// No worker runs in it, or calls the waker, once this returns.
  ~verifier();

  /// Before the first job. May throw bad_alloc.
  void use(std::unique_ptr<platform::worker_pool> workers, waker to);
  [[nodiscard]] uint32_t worker_count() const {
    return workers_ == nullptr ? 0 : workers_->thread_count();
  }

  /// Takes the job; false where the caller has to make the digests itself: without workers, or with
  /// too many jobs waiting already.
  [[nodiscard]] bool submit(const digest_job &job) noexcept;
  /// Hands what has ended to its owners; when nothing has, makes the digests of a job that no
  /// worker has begun. False: there was nothing to do.
  bool step();
  /// Has a job ended that step() has not handed over? Any thread.
  [[nodiscard]] bool has_finished() const noexcept;

 private:
  struct shared;
  bool hand_over();
  void call_worker() noexcept;

  std::unique_ptr<platform::worker_pool> workers_;
  std::shared_ptr<shared> shared_;
  std::atomic<uint64_t> handed_over_count_{0};
};

}  // namespace cubby::transfer
