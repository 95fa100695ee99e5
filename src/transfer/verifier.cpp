#include "transfer/verifier.hpp"

#include <algorithm>
#include <thread>

namespace cubby::transfer {
namespace {

constexpr size_t jobs_max = 64;
/// Waking a worker costs as much as the digest of this many bytes: fewer are left to the pump.
constexpr uint64_t worth_bytes = uint64_t{128} << 10;

struct ended_job {
  digest_owner *owner = nullptr;
  uint32_t tag = 0;
};

}  // namespace

void make_digests(const digest_job &job) noexcept {
  base::chunk_identity place = job.first;
  uint64_t at = 0;
  uint64_t size = std::min(job.first_bytes, job.size_bytes);
  for (uint64_t *digest = job.digests; at < job.size_bytes; ++digest, ++place.chunk) {
    *digest = base::chunk_digest(job.bytes + at, size, place);
    at += size;
    size = std::min(job.chunk_bytes, job.size_bytes - at);
  }
}

/// What workers and pump share. A worker that starts late finds it closed, but there.
struct verifier::shared final : platform::work_item {
  base::bounded_queue<digest_job> waiting{jobs_max};
  // As many as jobs there can be: those that wait and one a worker.
  base::bounded_queue<ended_job> ended{4 * jobs_max};
  std::atomic<uint64_t> waiting_bytes{0};
  std::atomic<uint64_t> ended_count{0};
  std::atomic<uint32_t> called_count{0};   // workers that were called and have not ended
  std::atomic<uint32_t> running_count{0};  // workers that may touch what the runtime owns
  std::atomic<bool> closed{false};
  waker to;

  bool take(digest_job &job) noexcept {
    if (!waiting.pop(job)) return false;
    waiting_bytes.fetch_sub(job.size_bytes, std::memory_order_relaxed);
    return true;
  }

  void run() noexcept override {
    running_count.fetch_add(1, std::memory_order_seq_cst);
    if (!closed.load(std::memory_order_seq_cst)) {
      digest_job job;
      while (take(job)) {
        make_digests(job);
        while (!ended.push({job.owner, job.tag})) std::this_thread::yield();
        ended_count.fetch_add(1, std::memory_order_seq_cst);
        to.wake(to.context);
      }
    }
    called_count.fetch_sub(1, std::memory_order_seq_cst);
    running_count.fetch_sub(1, std::memory_order_seq_cst);
  }
};

verifier::~verifier() {
  if (shared_ == nullptr) return;
  shared_->closed.store(true, std::memory_order_seq_cst);
  while (shared_->running_count.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

void verifier::use(std::unique_ptr<platform::worker_pool> workers, waker to) {
  if (workers == nullptr) return;
  shared_ = std::make_shared<shared>();
  shared_->to = to;
  workers_ = std::move(workers);
}

bool verifier::submit(const digest_job &job) noexcept {
  if (workers_ == nullptr) return false;
  shared_->waiting_bytes.fetch_add(job.size_bytes, std::memory_order_relaxed);
  if (!shared_->waiting.push(job)) {
    shared_->waiting_bytes.fetch_sub(job.size_bytes, std::memory_order_relaxed);
    return false;
  }
  call_worker();
  return true;
}

/// The pump makes one itself; what waits beyond that is worth a worker for each `worth_bytes`.
void verifier::call_worker() noexcept {
  const uint32_t called = shared_->called_count.load(std::memory_order_seq_cst);
  if (called >= workers_->thread_count()) return;
  if (shared_->waiting_bytes.load(std::memory_order_relaxed) < (called + 1) * worth_bytes) return;
  shared_->called_count.fetch_add(1, std::memory_order_seq_cst);
  if (!workers_->enqueue(shared_)) shared_->called_count.fetch_sub(1, std::memory_order_seq_cst);
}

bool verifier::hand_over() {
  ended_job one;
  if (!shared_->ended.pop(one)) return false;
  handed_over_count_.fetch_add(1, std::memory_order_relaxed);
  one.owner->digested(one.tag);
  return true;
}

bool verifier::step() {
  if (shared_ == nullptr) return false;
  bool any = false;
  while (hand_over()) any = true;
  if (any) return true;
  digest_job job;
  if (!shared_->take(job)) return false;
  make_digests(job);
  job.owner->digested(job.tag);
  return true;
}

bool verifier::has_finished() const noexcept {
  return shared_ != nullptr && shared_->ended_count.load(std::memory_order_seq_cst) !=
                                   handed_over_count_.load(std::memory_order_relaxed);
}

}  // namespace cubby::transfer
