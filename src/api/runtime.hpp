// A runtime: the controller, who advances it, and who hears of completions.
#pragma once

#include <sys/mman.h>

#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "api/backend_list.hpp"
#include "api/budget_checks.hpp"
#include "api/completion_queue.hpp"
#include "api/last_error.hpp"
#include "api/log_ring.hpp"
#include "api/published_metrics.hpp"
#include "api/reservations.hpp"
#include "api/spaces.hpp"
#include "api/tickets.hpp"
#include "base/abi.hpp"
#include "base/clock.hpp"
#include "engine/engine.hpp"
#include "platform/services.hpp"
#include "store/machine_profile.hpp"

namespace cubby::api {

/// Structs of callers grow at the end: what an older caller did not write counts as zero. A true
/// size is a multiple of the alignment; one that is not ends inside a field, which then counts as
/// zero too: half a pointer is no pointer.
template <class T>
T read_struct(const T &from) {
  if (from.struct_size == sizeof(T)) return from;
  T value{};
  const size_t given = std::min<size_t>(sizeof(T), from.struct_size);
  std::memcpy(static_cast<void *>(&value), &from, given - given % alignof(T));
  value.struct_size = sizeof(T);
  return value;
}
template <class T>
void write_struct(const T &value, T *to) {
  const uint32_t room = to->struct_size == 0 ? uint32_t{sizeof(T)} : to->struct_size;
  std::memcpy(static_cast<void *>(to), &value, std::min<size_t>(sizeof(T), room));
  to->struct_size = room;
}

/// Memory that the caller lent.
struct region {
  cubby_region handle = 0;
  cubby_region_desc desc{};
  std::atomic<uint32_t> used{0};  // by tiers, and by calls that copy
  uint64_t mapped_bytes = 0;      // of a shared file, at desc.base

  region() = default;
  region(const region &) = delete;
  region &operator=(const region &) = delete;
  ~region() { unmap(); }
  void unmap() {
    if (mapped_bytes != 0) ::munmap(desc.base, std::exchange(mapped_bytes, 0));
  }
};

class runtime final : public engine::completion_sink, public queue_owner {
 public:
  runtime(const cubby_config &config, const cubby_policy_ops &policy);
  runtime(const runtime &) = delete;
  runtime &operator=(const runtime &) = delete;
  ~runtime() override;

  /// Starts the runtime's own thread where it has one.
  result<void> start();
  /// Completes or cancels every ticket; other calls return SHUTDOWN from here on. False: I/O that
  /// was begun has not come back in close_patience_ns, so its memory must not be given up.
  bool shut_down();
  /// The sentence for that.
  error lost_io();

  // ---- the pump ------------------------------------------------------------------------------
  [[nodiscard]] bool caller_pump() const { return config_.pump == CUBBY_PUMP_CALLER; }
  using effort = engine::controller::effort;
  /// Advances unless somebody else does just now. False: somebody else does.
  bool try_advance(uint64_t now_ns, uint64_t *next_ns, effort how_far);
  /// Sees to it that somebody looks at what is new. In caller pump its I/O is started here; what
  /// has come back is left to whoever polls or waits. After a request was handed over (`request`)
  /// that is left to them too, a few at a time, while a file has enough in flight.
  void kick(bool request = false) noexcept;
  /// Until `done` or the time is over; `done` is asked with nothing locked.
  template <class Done>
  bool wait_until(const Done &done, int64_t timeout_ns);
  /// The pump is held: tables may be changed.
  [[nodiscard]] std::unique_lock<std::mutex> hold_pump() { return std::unique_lock(pump_mutex_); }
  [[nodiscard]] uint64_t now() const {
    return virtual_clock ? virtual_now_.load(std::memory_order_relaxed) : base::now_ns();
  }
  [[nodiscard]] bool idle() const { return idle_.load(std::memory_order_seq_cst); }

  // ---- tickets -------------------------------------------------------------------------------
  [[nodiscard]] tickets &requests() { return tickets_; }
  void taken(std::span<const uint32_t> requests) override { tickets_.taken(requests); }
  void completed(uint32_t index, bool stays_ours) override;

  /// A line that there is no memory for counts as lost.
  void log(uint32_t level, cubby_tier tier, const std::string &text) noexcept {
    log_lines.add(now(), level, tier, text.c_str());
  }
  /// They look again at what they wait for.
  void wake_waiters();
  /// No call that began before is still running when this returns.
  void grace_period();

  [[nodiscard]] static uint32_t shard_of_thread() {
    // What pthread_self() says, without the call.
    const auto self = reinterpret_cast<uintptr_t>(__builtin_thread_pointer());
    return (static_cast<uint32_t>(self >> 6) * 0x9E3779B1u) >> 28;
  }
  [[nodiscard]] bool forked() const { return *alive_ == 0; }
  [[nodiscard]] bool shutting() const { return shutting_.load(std::memory_order_acquire); }

  /// The tier through which a file is read; one is made when the first bank needs it. Pump held.
  result<uint32_t> file_tier_for(const std::string &path, std::optional<store::read_speed> known);
  /// One by which the bank is not read yet, for copies of its files: the one that serves the path
  /// of the first, or a new one. Pump held.
  result<uint32_t> file_tier_beside(cubby_bank bank, const std::vector<catalog::bank_file> &files,
                                    std::optional<store::read_speed> known);

 private:
  result<uint32_t> add_file_tier(const std::string &name, std::vector<std::string> directories,
                                 std::optional<store::read_speed> known);
  /// A thread that waits takes work off the pump's hands, but where the pump is its own.
  [[nodiscard]] bool helps() const { return !caller_pump() && !virtual_clock; }
  struct waiting_thread {
    runtime &of;
    const bool helps;
    explicit waiting_thread(runtime &rt) : of(rt), helps(rt.helps()) {
      of.waiters_.fetch_add(1);
      if (helps) of.engine_.work.join();
    }
    waiting_thread(const waiting_thread &) = delete;
    waiting_thread &operator=(const waiting_thread &) = delete;
    ~waiting_thread() {
      if (helps) of.engine_.work.leave();
      of.waiters_.fetch_sub(1);
    }
  };
  void run();
  void run_once(uint64_t &busy_at_ns);
  void say_no_memory() noexcept;
  bool end_all_io();
  void sleep(uint64_t until_ns, uint64_t seen_completions);
  void wake();
  static void wake_runtime(void *context);
  static void call_helper(void *context);
  void notify();

  cubby_config config_;
  std::string policy_;

 public:
  log_ring log_lines;
  platform::services services;
  backend_list backends{services.table()};
  store::machine_profile profile;  // what cubby_open() read; empty without one
  std::mutex region_mutex;         // of the next; never held for long
  std::deque<region> regions;      // each stays where it is
  space_list spaces;
  reservation_list reservations;
  published_metrics published;  // under the pump's lock
  std::vector<void *> libraries;
  bool virtual_clock = false;
  uint64_t close_patience_ns = uint64_t{30} * 1'000'000'000;
  [[nodiscard]] uint32_t next_region_mark() { return (salt_ + ++region_mark_) & 0xFFFF; }

 private:
  volatile uint64_t *alive_ = nullptr;  // 1 in the process that opened it, 0 in a child
  uint32_t salt_;
  std::atomic<uint32_t> region_mark_{0};
  engine::parts engine_;
  std::mutex pump_mutex_;
  std::atomic<uint64_t> virtual_now_{0};
  std::atomic<uint64_t> next_ns_{base::never_ns};
  std::atomic<bool> idle_{true};
  std::atomic<bool> well_supplied_{false};  // as of the last advance
  std::atomic<bool> shutting_{false}, stop_{false};
  int wake_fd_ = -1;
  std::atomic<bool> sleeping_{false};
  std::vector<int> sleep_fds_;  // of the one sleeper
  std::thread thread_;
  bool said_no_memory_ = false;  // the thread's

  std::mutex wait_mutex_;
  std::condition_variable progress_;
  std::atomic<uint32_t> waiters_{0};
  std::atomic<bool> news_{false};  // completions since the last notify()
  std::atomic<uint64_t> completions_{0};
  bool leader_ = false;  // under wait_mutex_: somebody sleeps for all

  tickets tickets_{engine_.requests, engine_.state.pins};

 public:
  budget_checks budgets{engine_, config_.table_bytes_max};
  [[nodiscard]] engine::parts &engine() { return engine_; }
  [[nodiscard]] const cubby_config &config() const { return config_; }
  [[nodiscard]] const std::string &policy() const { return policy_; }
};

template <class Done>
bool runtime::wait_until(const Done &done, int64_t timeout_ns) {
  const uint64_t start = base::now_ns();
  const uint64_t deadline =
      timeout_ns < 0 ? base::never_ns : start + static_cast<uint64_t>(timeout_ns);
  const waiting_thread waiter(*this);
  for (;;) {
    // One job at a time: what is waited for may end meanwhile.
    while (waiter.helps && !done() && engine_.work.help()) {
    }
    const bool advanced = caller_pump() && try_advance(0, nullptr, effort::one_completion);
    // Read before looking: what completes after the look keeps us from sleeping.
    const uint64_t seen = completions_.load(std::memory_order_seq_cst);
    if (done()) return true;
    // Virtual time does not pass while one waits for it.
    if (virtual_clock || base::now_ns() >= deadline) return false;
    if (advanced && next_ns_.load() <= base::now_ns()) continue;
    std::unique_lock lock(wait_mutex_);
    if (done()) return true;
    if (waiter.helps && engine_.work.wants_help()) continue;
    const uint64_t left = deadline == base::never_ns ? 1'000'000'000 : deadline - base::now_ns();
    if (caller_pump() && !leader_) {
      leader_ = true;
      lock.unlock();
      sleep(std::min(deadline, next_ns_.load()), seen);
      lock.lock();
      leader_ = false;
      progress_.notify_all();  // another may sleep for all now
    } else if (static_cast<int64_t>(left) > 0) {
      progress_.wait_for(lock, std::chrono::nanoseconds(std::min<uint64_t>(left, 1'000'000'000)));
    }
  }
}

/// Around every call: counts it while it runs. Calls that may wait long look at no bank meanwhile
/// and are counted apart, so that a bank can be removed while they wait.
class call {
 public:
  enum class kind { brief, waiting };
  // Inlined also where the compiler thinks it too rare: a call's own state then is in registers.
  [[gnu::always_inline]] call(runtime &rt, kind what)
      : shard_index(runtime::shard_of_thread()),
        mine(rt.engine().feed.shard(shard_index)),
        count_(what == kind::brief ? mine.active : rt.waiting_calls) {
    count_.fetch_add(1, std::memory_order_seq_cst);
  }
  call(const call &) = delete;
  call &operator=(const call &) = delete;
  [[gnu::always_inline]] ~call() { count_.fetch_sub(1, std::memory_order_release); }
  /// The end of one that the runtime cannot serve: FORKED or SHUTDOWN.
  [[gnu::cold]] static cubby_status refuse(cubby_status status);

  const uint32_t shard_index;
  engine::thread_shard &mine;

 private:
  std::atomic<uint32_t> &count_;
};

/// What must stand at the begin of a call on a runtime.
#define CUBBY_BEGIN(rt, kind_of_call)                                           \
  if ((rt).forked()) return ::cubby::api::call::refuse(CUBBY_ERR_FORKED);       \
  const ::cubby::api::call entered(rt, ::cubby::api::call::kind::kind_of_call); \
  if ((rt).shutting()) return ::cubby::api::call::refuse(CUBBY_ERR_SHUTDOWN)
#define CUBBY_ENTER(rt)                                     \
  if ((rt) == nullptr) CUBBY_REFUSE("the runtime is NULL"); \
  ::cubby::api::runtime &self = (rt)->self;                 \
  CUBBY_BEGIN(self, brief)
#define CUBBY_ENTER_WAITING(rt)                             \
  if ((rt) == nullptr) CUBBY_REFUSE("the runtime is NULL"); \
  ::cubby::api::runtime &self = (rt)->self;                 \
  CUBBY_BEGIN(self, waiting)

}  // namespace cubby::api

/// The opaque handle of cubby.h.
struct cubby_handle {
  cubby_handle(const cubby_config &config, const cubby_policy_ops &policy) : self(config, policy) {}
  cubby::api::runtime self;
};
