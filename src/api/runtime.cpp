#include "api/runtime.hpp"

#include <dlfcn.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>

#include "base/no_thread.hpp"
#include "base/prng.hpp"
#include "platform/affinity.hpp"
#include "platform/signals.hpp"

namespace cubby::api {
namespace {

/// How long the runtime's thread looks for completions of demand before it sleeps.
constexpr uint64_t spin_ns = 20'000;
constexpr uint64_t page_bytes = 4096;

/// Differs between two runtimes of a process, so that a handle of one is refused by the other.
uint32_t salt_of(const void *place) {
  return static_cast<uint32_t>(base::mix64(reinterpret_cast<uintptr_t>(place)) & 0x7FFF) + 1;
}

engine::engine_config engine_config_of(const cubby_config &config, const cubby_policy_ops &policy,
                                       uint32_t salt) {
  engine::engine_config made;
  made.tickets_max = config.tickets_max;
  made.salt = salt;
  made.seed = config.seed;
  made.policy = &policy;
  made.policy_by_banks = config.policy == nullptr || std::string_view(config.policy) == "auto";
  made.verify = config.verify == CUBBY_VERIFY_ON;
  return made;
}

/// Threads that verify what the pump has no time for. A thread that computes and the pump itself
/// want a processor each.
uint32_t worker_count_of(const cubby_config &config) {
  constexpr uint32_t default_max = 4, asked_max = 64;
  if (config.workers == CUBBY_WORKERS_NONE) return 0;
  if (config.workers != 0) return std::min(config.workers, asked_max);
  if (config.pump == CUBBY_PUMP_CALLER) return 0;
  const uint32_t cpu_count = platform::usable_cpu_count();
  return cpu_count > 2 ? std::min(cpu_count - 2, default_max) : 0;
}

void add_line(void *context, uint32_t level, const char *text) {
  auto &self = *static_cast<runtime *>(context);
  self.log_lines.add(self.now(), level, 0, text);
}

}  // namespace

runtime::runtime(const cubby_config &config, const cubby_policy_ops &policy)
    : config_(config),
      policy_(config.policy == nullptr ? "auto" : config.policy),
      log_lines(config.log_lines_max),
      services(add_line, this),
      salt_(salt_of(this)),
      engine_(engine_config_of(config, policy, salt_), services.table(), *this) {
  config_.policy = policy_.c_str();
  sleep_fds_.reserve(engine::tiers_max);  // sleeping takes no memory
}

runtime::~runtime() {
  if (alive_ != nullptr) ::munmap(const_cast<uint64_t *>(alive_), page_bytes);
  if (wake_fd_ >= 0) ::close(wake_fd_);
}

result<void> runtime::start() {
  // A page that the kernel empties in a child: how a call knows that it runs after a fork.
  void *page =
      ::mmap(nullptr, page_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) return fail_errno(errno, "a page of memory could not be had");
  alive_ = static_cast<volatile uint64_t *>(page);
  ::madvise(page, page_bytes, MADV_WIPEONFORK);
  *alive_ = 1;
  wake_fd_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (wake_fd_ < 0) {
    return fail_errno(errno, "a descriptor to wake the runtime could not be had; raise ulimit -n");
  }
  const uint32_t count = worker_count_of(config_);
  if (count != 0 || helps()) {
    engine_.work.use(count == 0 ? nullptr : std::make_unique<platform::thread_pool>(count),
                     {wake_runtime, call_helper, this});
  }
  if (caller_pump()) return {};
  const platform::signals_blocked blocked;
  try {
    thread_ = std::thread([this] { run(); });
  } catch (const std::system_error &failure) {
    return base::no_thread(failure.code().value(), "the runtime's thread",
                           ", or use CUBBY_PUMP_CALLER");
  }
  return {};
}

// ---- the pump
// -------------------------------------------------------------------------------------

bool runtime::try_advance(uint64_t now_ns, uint64_t *next_ns, effort how_far) {
  uint64_t next = base::never_ns;
  {
    const std::unique_lock lock(pump_mutex_, std::try_to_lock);
    if (!lock.owns_lock()) return false;
    if (virtual_clock && now_ns != 0) virtual_now_.store(now_ns, std::memory_order_relaxed);
    idle_.store(false, std::memory_order_seq_cst);  // before requests leave the inbox
    engine_.pump.advance(now_ns != 0 ? now_ns : now(), &next, how_far,
                         now_ns == 0 && !virtual_clock);
    next_ns_.store(next);
    published.renew(engine_, log_lines);
    idle_.store(engine_.pump.idle() && !engine_.pump.has_news(), std::memory_order_seq_cst);
    well_supplied_.store(engine_.pump.well_supplied(), std::memory_order_relaxed);
  }
  notify();
  if (next_ns != nullptr) *next_ns = next;
  return true;
}

void runtime::run() {
  uint64_t busy_at_ns = 0;
  while (!stop_.load(std::memory_order_acquire)) {
    try {
      run_once(busy_at_ns);
    } catch (const std::exception &) {
      say_no_memory();
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }
}

void runtime::run_once(uint64_t &busy_at_ns) {
  uint64_t next = base::never_ns;
  bool any = false;
  bool demand = false;
  {
    const std::unique_lock lock(pump_mutex_);
    idle_.store(false, std::memory_order_seq_cst);
    any = engine_.pump.advance(now(), &next, effort::one_completion, !virtual_clock);
    demand = engine_.pump.demand_count() != 0;
    published.renew(engine_, log_lines);
    next = std::min(next, published.due_ns());
    idle_.store(engine_.pump.idle() && !engine_.pump.has_news(), std::memory_order_seq_cst);
  }
  notify();
  const uint64_t here_ns = base::now_ns();
  if (any) busy_at_ns = here_ns;
  if (next <= here_ns) return;
  if (demand && here_ns - busy_at_ns < spin_ns) return;
  sleep(next, completions_.load(std::memory_order_relaxed));
}

void runtime::wake_runtime(void *context) { static_cast<runtime *>(context)->wake(); }

void runtime::call_helper(void *context) {
  auto &self = *static_cast<runtime *>(context);
  const std::lock_guard lock(self.wait_mutex_);
  self.progress_.notify_one();
}

/// Once, if there is memory for the line. The pump goes on with what it can.
void runtime::say_no_memory() noexcept {
  if (said_no_memory_) return;
  try {
    log_lines.add(
        now(), 0, 0,
        "the runtime's thread found no memory for its own tables and tries again every "
        "10 ms; requests that cannot be served are answered NO_MEMORY; raise ulimit -v or "
        "the cgroup's memory.max");
    said_no_memory_ = true;
  } catch (const std::exception &) {
    return;  // there will be another time
  }
}

/// One at a time: the runtime's thread, or the waiter who sleeps for all.
void runtime::sleep(uint64_t until_ns, uint64_t seen_completions) {
  {
    const std::unique_lock lock(pump_mutex_);
    engine_.pump.descriptors(sleep_fds_);
  }
  pollfd fds[engine::tiers_max + 1];
  nfds_t count = 0;
  fds[count++] = {wake_fd_, POLLIN, 0};
  for (const int fd : sleep_fds_) fds[count++] = {fd, POLLIN, 0};
  sleeping_.store(true, std::memory_order_seq_cst);
  // Whoever advanced since may have left something to be done. It says so before it looks whether
  // anybody sleeps, and this is read after that was said: one of the two sees the other.
  if (caller_pump()) until_ns = std::min(until_ns, next_ns_.load(std::memory_order_seq_cst));
  const uint64_t here_ns = base::now_ns();
  const bool news =
      engine_.pump.has_news() || completions_.load(std::memory_order_seq_cst) != seen_completions;
  if (!news && !stop_.load() && !shutting() && until_ns > here_ns) {
    const uint64_t left_ns = until_ns - here_ns;
    const timespec time{static_cast<time_t>(left_ns / 1'000'000'000u),
                        static_cast<long>(left_ns % 1'000'000'000u)};
    ::ppoll(fds, count, until_ns == base::never_ns ? nullptr : &time, nullptr);
  }
  sleeping_.store(false, std::memory_order_seq_cst);
  if (fds[0].revents == 0) return;  // a call that wakes from here on ends the next sleep at once
  eventfd_t ignored = 0;
  ::eventfd_read(wake_fd_, &ignored);
}

void runtime::wake() {
  if (sleeping_.load(std::memory_order_seq_cst)) ::eventfd_write(wake_fd_, 1);
}

/// The call that kicks is done, whatever becomes of this: what finds no memory now is tried again
/// by whoever advances next, who says so.
void runtime::kick(bool request) noexcept {
  constexpr uint32_t batch_count = 8;
  const bool later = request && well_supplied_.load(std::memory_order_relaxed) &&
                     engine_.requests.accepted_count() < batch_count;
  try {
    if (caller_pump() && !later) try_advance(0, nullptr, effort::start);
  } catch (const std::exception &) {
  }
  wake();
}

void runtime::notify() {
  if (!news_.exchange(false, std::memory_order_seq_cst) && !idle_.load()) return;
  if (waiters_.load(std::memory_order_seq_cst) == 0) return;
  if (caller_pump()) wake();  // the one who sleeps for all may be the one whose ticket is done
  const std::lock_guard lock(wait_mutex_);
  progress_.notify_all();
}

void runtime::wake_waiters() {
  {
    const std::lock_guard lock(wait_mutex_);
    progress_.notify_all();
  }
  ::eventfd_write(wake_fd_, 1);
}

void runtime::grace_period() {
  for (uint32_t i = 0; i < residency::pin_sets::shard_count; ++i) {
    const std::atomic<uint32_t> &active = engine_.feed.shard(i).active;
    while (active.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
  }
}

bool runtime::shut_down() {
  shutting_.store(true, std::memory_order_seq_cst);
  wake_waiters();
  if (thread_.joinable()) {
    stop_.store(true, std::memory_order_seq_cst);
    ::eventfd_write(wake_fd_, 1);
    thread_.join();
  }
  while (waiting_calls.load(std::memory_order_seq_cst) != 0) {
    ::eventfd_write(wake_fd_, 1);
    std::this_thread::yield();
  }
  grace_period();
  const bool all_back = end_all_io();
  cubby_cq::outlive(*this);
  // Who came to wait for a queue before it knew.
  while (waiting_calls.load(std::memory_order_seq_cst) != 0) std::this_thread::yield();
  return all_back;
}

/// Nobody can make a device give back what it has: after some time in which nothing came, what is
/// still out is left to it, with the memory that it may yet write to.
bool runtime::end_all_io() {
  uint64_t until_ns = 0;
  for (;;) {
    uint64_t next = base::never_ns;
    const uint64_t here = virtual_clock ? virtual_now_.load() : base::now_ns();
    bool any = false;
    try {
      engine_.pump.cancel_everything();
      any = engine_.pump.advance(here, &next);
    } catch (const std::exception &) {  // no memory: what is out is waited for all the same
      any = false;
    }
    engine_.state.releases.step();
    if (engine_.pump.idle() && engine_.state.releases.empty()) return true;
    // A slow link says when its next bytes come; they are waited for.
    const bool slow = next != base::never_ns && next > here;
    if (any || until_ns == 0) until_ns = (slow ? next : here) + close_patience_ns;
    if (here > until_ns) {
      engine_.pump.give_up_seals();
      return false;
    }
    if (virtual_clock) {
      virtual_now_.store(next == base::never_ns ? here + 1'000'000 : std::max(next, here + 1));
      continue;
    }
    engine_.pump.descriptors(sleep_fds_);
    std::array<pollfd, engine::tiers_max> fds;
    nfds_t count = 0;
    for (const int fd : sleep_fds_) fds[count++] = {fd, POLLIN, 0};
    ::poll(fds.data(), count, 1);
  }
}

error runtime::lost_io() {
  error why = fail(CUBBY_ERR_DEVICE,
                   "streams have not got past what was unpinned in their order. The runtime is "
                   "closed, but its memory stays until the process ends, because the device may "
                   "still read there; look at the streams' own work");
  for (uint32_t i = 0; i < engine_.state.tiers.count(); ++i) {
    const engine::tier_slot &slot = engine_.state.tiers[i];
    if (slot.path->in_flight_count() == 0) continue;
    why = fail(CUBBY_ERR_DEVICE,
               "tier %s: %u I/Os have not come back in %llu s. Every ticket is completed and the "
               "runtime is closed, but its memory, threads and files stay until the process ends, "
               "because the device may still write there; look at the kernel's log and the device",
               slot.name.c_str(), slot.path->in_flight_count(),
               static_cast<unsigned long long>(close_patience_ns / 1'000'000'000));
    why.tier = slot.handle;
    break;
  }
  return why;
}

void runtime::completed(uint32_t index, bool stays_ours) {
  completions_.fetch_add(1, std::memory_order_seq_cst);
  news_.store(true, std::memory_order_seq_cst);
  if (!stays_ours) return;
  const engine::request &r = engine_.requests[index];
  if (r.forget) {
    engine_.requests.give(index);
  } else {
    static_cast<cubby_cq *>(r.queue)->push({tickets_.figures(index), index});
  }
}

cubby_status call::refuse(cubby_status status) {
  if (status == CUBBY_ERR_FORKED) {
    return keep_error(fail(status,
                           "the runtime was opened before this process was forked; open one "
                           "of its own in the child"));
  }
  return keep_error(fail(status, "the runtime is being closed"));
}

result<uint32_t> runtime::file_tier_for(const std::string &path,
                                        std::optional<store::read_speed> known) {
  const uint32_t there = engine_.state.tiers.file_tier_for(path);
  if (there != engine::no_tier) return there;
  return add_file_tier("file:0", {}, known);
}

result<uint32_t> runtime::file_tier_beside(cubby_bank bank,
                                           const std::vector<catalog::bank_file> &files,
                                           std::optional<store::read_speed> known) {
  const residency::locker_bank *found = engine_.state.banks.find(bank);
  if (found == nullptr) return fail(CUBBY_ERR_INVALID, "the bank was removed meanwhile");
  auto fresh = engine_.files.check_new_copy(*found, files);
  if (!fresh) return fresh.failure();
  const std::string &path = files.front().path;
  engine::tier_set &tiers = engine_.state.tiers;
  const uint32_t there = tiers.file_tier_for(path);
  // Not one of other folders: what fails here would keep its files, or its store, from being read.
  const bool serves = there != engine::no_tier && tiers[there].files->serves(path);
  if (serves && !engine_.files.reads_through(*found, there)) return there;
  if (tiers.count() == engine::tiers_max) {
    return fail(CUBBY_ERR_INVALID,
                "%s: a copy is read through a file tier of its own, and a runtime has at most %u "
                "tiers; let one file tier serve several folders (cubby_tier_desc.paths)",
                path.c_str(), engine::tiers_max);
  }
  std::string name = "copy:0";
  for (uint32_t i = 1; !tiers.check_new(name); ++i) name = "copy:" + std::to_string(i);
  // A path without a folder is of the one that this process is in.
  const std::string folder = path.substr(0, path.rfind('/') + 1);
  return add_file_tier(name, {folder.empty() ? "./" : folder}, known);
}

result<uint32_t> runtime::add_file_tier(const std::string &name,
                                        std::vector<std::string> directories,
                                        std::optional<store::read_speed> known) {
  auto opened = backends.open_files("file", name);
  if (!opened) return opened.failure();
  auto added = engine_.setup.add_file_tier(name, 1000, std::move(directories),
                                           std::move(opened->backend), {});
  if (!added) return added.failure();
  engine_.state.tiers[*added].note = std::move(opened->note);
  if (known) engine_.state.tiers[*added].assume_speed(*known);
  return added;
}

}  // namespace cubby::api
