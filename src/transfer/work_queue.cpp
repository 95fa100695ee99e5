#include "transfer/work_queue.hpp"

#include <algorithm>
#include <thread>

namespace cubby::transfer {
namespace {

constexpr size_t jobs_max = 64;
/// Waking a thread costs as much as the digest of this many bytes: fewer are left to the pump.
constexpr uint64_t worth_bytes = uint64_t{128} << 10;

struct ended_job {
  job_owner *owner = nullptr;
  uint32_t tag = 0;
};

uint64_t bytes_of(const job &one) {
  return std::visit([](const auto &any) { return any.size_bytes; }, one);
}
ended_job ending_of(const job &one) {
  return std::visit([](const auto &any) { return ended_job{any.owner, any.tag}; }, one);
}
void do_job(const job &one) noexcept {
  if (const auto *digests = std::get_if<digest_job>(&one)) return make_digests(*digests);
  const auto &copy = *std::get_if<copy_job>(&one);
  copy_pieces(copy.from, copy.into);
}

}  // namespace

void make_digests(const digest_job &of) noexcept {
  base::chunk_identity place = of.first;
  uint64_t at = 0;
  uint64_t size = std::min(of.first_bytes, of.size_bytes);
  scatter copy(of.into);
  for (uint32_t i = 0; at < of.size_bytes; ++i, ++place.chunk) {
    if (of.digests != nullptr) of.digests[i] = base::chunk_digest(of.bytes + at, size, place);
    if (!of.into.empty()) copy.put(of.bytes + at, size);
    at += size;
    size = std::min(of.chunk_bytes, of.size_bytes - at);
  }
}

/// What all threads share. A worker that starts late finds it closed, but there.
struct work_queue::shared final : platform::work_item {
  base::bounded_queue<job> waiting{jobs_max};
  // As many as jobs there can be: those that wait and one a thread.
  base::bounded_queue<ended_job> ended{4 * jobs_max};
  std::atomic<uint64_t> waiting_bytes{0};
  std::atomic<uint64_t> ended_count{0};
  std::atomic<uint32_t> called_count{0};   // workers that were called and have not ended
  std::atomic<uint32_t> running_count{0};  // workers that may touch what the runtime owns
  std::atomic<uint32_t> joined_count{0};   // threads that wait, and may help
  std::atomic<uint32_t> helping_count{0};  // of them, those that do a job
  std::atomic<bool> helper_called{false};  // and has not looked yet
  std::atomic<bool> closed{false};
  callbacks to;

  bool take(job &one) noexcept {
    if (!waiting.pop(one)) return false;
    waiting_bytes.fetch_sub(bytes_of(one), std::memory_order_relaxed);
    return true;
  }

  void finish(const job &one) noexcept {
    do_job(one);
    const ended_job ending = ending_of(one);
    while (!ended.push(ending)) std::this_thread::yield();
    ended_count.fetch_add(1, std::memory_order_seq_cst);
    to.wake(to.context);
  }

  void run() noexcept override {
    running_count.fetch_add(1, std::memory_order_seq_cst);
    if (!closed.load(std::memory_order_seq_cst)) {
      job one;
      while (take(one)) finish(one);
    }
    called_count.fetch_sub(1, std::memory_order_seq_cst);
    running_count.fetch_sub(1, std::memory_order_seq_cst);
  }
};

work_queue::~work_queue() {
  if (shared_ == nullptr) return;
  shared_->closed.store(true, std::memory_order_seq_cst);
  while (shared_->running_count.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
}

void work_queue::use(std::unique_ptr<platform::worker_pool> workers, callbacks to) {
  shared_ = std::make_shared<shared>();
  shared_->to = to;
  workers_ = std::move(workers);
}

bool work_queue::has_help() const noexcept {
  return workers_ != nullptr ||
         (shared_ != nullptr && shared_->joined_count.load(std::memory_order_relaxed) != 0);
}

bool work_queue::submit(const job &one) noexcept {
  if (!has_help()) return false;
  const uint64_t bytes = bytes_of(one);
  shared_->waiting_bytes.fetch_add(bytes, std::memory_order_relaxed);
  if (!shared_->waiting.push(one)) {
    shared_->waiting_bytes.fetch_sub(bytes, std::memory_order_relaxed);
    return false;
  }
  call_help();
  return true;
}

/// The pump does one job itself; what waits beyond that is worth a thread for each `worth_bytes`.
/// Threads that wait come first: they are there anyway.
void work_queue::call_help() noexcept {
  const uint32_t called = shared_->called_count.load(std::memory_order_seq_cst);
  const uint32_t helping = shared_->helping_count.load(std::memory_order_relaxed);
  const bool coming = shared_->helper_called.load(std::memory_order_relaxed);
  const uint64_t busy_count = uint64_t{called} + helping + (coming ? 1 : 0);
  if (shared_->waiting_bytes.load(std::memory_order_relaxed) < (busy_count + 1) * worth_bytes) {
    return;
  }
  if (!coming && shared_->joined_count.load(std::memory_order_relaxed) > helping) {
    shared_->helper_called.store(true, std::memory_order_relaxed);
    return shared_->to.call_helper(shared_->to.context);
  }
  if (workers_ == nullptr || called >= workers_->thread_count()) return;
  shared_->called_count.fetch_add(1, std::memory_order_seq_cst);
  if (!workers_->enqueue(shared_)) shared_->called_count.fetch_sub(1, std::memory_order_seq_cst);
}

void work_queue::join() noexcept {
  if (shared_ != nullptr) shared_->joined_count.fetch_add(1, std::memory_order_relaxed);
}

void work_queue::leave() noexcept {
  if (shared_ == nullptr) return;
  shared_->joined_count.fetch_sub(1, std::memory_order_relaxed);
  shared_->helper_called.store(false, std::memory_order_relaxed);  // it may have been this thread
}

bool work_queue::help() noexcept {
  if (shared_ == nullptr) return false;
  shared_->helping_count.fetch_add(1, std::memory_order_relaxed);
  shared_->helper_called.store(false, std::memory_order_relaxed);
  job one;
  const bool taken = shared_->take(one);
  if (taken) shared_->finish(one);
  shared_->helping_count.fetch_sub(1, std::memory_order_relaxed);
  return taken;
}

bool work_queue::wants_help() const noexcept {
  return shared_ != nullptr &&
         shared_->waiting_bytes.load(std::memory_order_relaxed) >= worth_bytes;
}

bool work_queue::hand_over() {
  ended_job one;
  if (!shared_->ended.pop(one)) return false;
  handed_over_count_.fetch_add(1, std::memory_order_relaxed);
  one.owner->job_done(one.tag);
  return true;
}

bool work_queue::step() {
  if (shared_ == nullptr) return false;
  bool any = false;
  while (hand_over()) any = true;
  if (any) return true;
  job one;
  if (!shared_->take(one)) return false;
  do_job(one);
  const ended_job ending = ending_of(one);
  ending.owner->job_done(ending.tag);
  return true;
}

bool work_queue::has_finished() const noexcept {
  return shared_ != nullptr && shared_->ended_count.load(std::memory_order_seq_cst) !=
                                   handed_over_count_.load(std::memory_order_relaxed);
}

}  // namespace cubby::transfer
