// Digests and copies as work items with a completion of their own: done by the runtime's workers,
// by callers that have nothing to do but wait, and by the pump itself where nobody else takes them.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <variant>

#include "base/bounded_queue.hpp"
#include "base/digest.hpp"
#include "platform/worker_pool.hpp"
#include "transfer/pieces.hpp"

namespace cubby::transfer {

/// Is called, by whoever holds the pump, when one of its jobs has been done.
class job_owner {
 public:
  /// `tag` is the owner's number for the job.
  virtual void job_done(uint32_t tag) = 0;

 protected:
  ~job_owner() = default;
};

/// Consecutive chunks of one part of one locker: each is digested and then, where `into` has
/// pieces, copied there while the cache has it. What is named stays valid until job_done().
struct digest_job {
  const std::byte *bytes = nullptr;
  uint64_t size_bytes = 0;
  uint64_t first_bytes = 0;     // of the first chunk
  uint64_t chunk_bytes = 0;     // of each later one but the last, which has what is left
  base::chunk_identity first;   // of the first chunk
  uint64_t *digests = nullptr;  // NULL: none are wanted
  std::span<const memory_piece> into;
  job_owner *owner = nullptr;
  uint32_t tag = 0;
};

/// Both lists have the same number of bytes, and stay valid until job_done().
struct copy_job {
  std::span<const memory_piece> from, into;
  uint64_t size_bytes = 0;
  job_owner *owner = nullptr;
  uint32_t tag = 0;
};

using job = std::variant<digest_job, copy_job>;

/// And the copies.
void make_digests(const digest_job &of) noexcept;

/// For whoever holds the pump, but for calls that say otherwise.
class work_queue {
 public:
  /// Both may be called by any thread.
  struct callbacks {
    void (*wake)(void *context) = nullptr;         // a job has ended while the pump may sleep
    void (*call_helper)(void *context) = nullptr;  // wakes a thread that waits, if any does
    void *context = nullptr;
  };

  work_queue() = default;
  work_queue(const work_queue &) = delete;
  work_queue &operator=(const work_queue &) = delete;
  /// No worker runs in it, or uses the callbacks, once this returns. No helper may be left.
  ~work_queue();

  /// Before the first job; `workers` may be NULL. Without this nobody helps. May throw bad_alloc.
  void use(std::unique_ptr<platform::worker_pool> workers, callbacks to);
  /// Is there another thread that may do a job?
  [[nodiscard]] bool has_help() const noexcept;

  /// Takes the job; false where the caller has to do it itself: without help, or with too many jobs
  /// waiting already.
  [[nodiscard]] bool submit(const job &one) noexcept;
  /// Hands what has ended to its owners; when nothing has, does a job that nobody has begun. False:
  /// there was nothing to do.
  bool step();
  /// Has a job ended that step() has not handed over? Any thread.
  [[nodiscard]] bool has_finished() const noexcept;

  // A thread that waits for something. Any thread, between join() and leave().
  void join() noexcept;
  void leave() noexcept;
  /// Does one job. False: none waits.
  bool help() noexcept;
  /// Does more wait than the pump is about to do itself?
  [[nodiscard]] bool wants_help() const noexcept;

 private:
  struct shared;
  bool hand_over();
  void call_help() noexcept;

  std::unique_ptr<platform::worker_pool> workers_;
  std::shared_ptr<shared> shared_;
  std::atomic<uint64_t> handed_over_count_{0};
};

}  // namespace cubby::transfer
