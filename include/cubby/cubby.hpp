// cubby.hpp: cubby.h for C++20. Header-only, no allocation hidden in a hot path, no exception
// unless value() is called on an error; compiles with -fno-exceptions, where that ends the program
// instead.
//
// What holds for every name here:
//   - Units: sizes end in _bytes, times in _ns (CLOCK_MONOTONIC; deadlines are absolute), counts in
//     _count. A zeroed option means its default, as in cubby.h.
//   - Ownership: `runtime`, `pins`, `reservation`, `lease` and `completion_queue` own what they
//     name, can be moved and not copied, and give it back at destruction. Everything else is a
//     number and copied freely.
//   - Order: pins, reservations and leases may outlive their runtime as objects; they then hold
//     nothing. A completion queue may outlive it too, and what it holds may still be taken. Calls
//     on one runtime while another thread closes or destroys it are a mistake of the caller.
//   - Threads: every call on a runtime may be made from any thread unless it says "one at a time";
//     one `pins`, `reservation` or `lease` object belongs to one thread at a time.
//   - Blocking: only wait(), drain(), close() and the destructors named below block.
//   - Errors: a call that can fail returns result<T>, which must be looked at.
//
// In C the runtime's handle is called `cubby`; C++ cannot have a type and a namespace of one name.
// This header includes cubby.h with the handle renamed to cubby_handle, so it has to come first;
// the functions of cubby.h are at hand under their own names afterwards.
#ifndef CUBBY_CUBBY_HPP
#define CUBBY_CUBBY_HPP

#ifdef CUBBY_CUBBY_H
#error "cubby.h is included already, with the handle named `cubby`: include <cubby/cubby.hpp> first"
#endif
#define cubby cubby_handle
#include <cubby/cubby.h>
#undef cubby

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

namespace cubby {
inline namespace v1 {

// ---- errors -------------------------------------------------------------------------------------

/// Why a call failed: a status and, in text(), a sentence with cause and remedy. A plain value.
class error {
 public:
  /// The error `status` without details.
  explicit error(cubby_status status) noexcept { details_.status = status; }

  /// The calling thread's last error, which a call that just returned `status` has left.
  [[nodiscard]] static error last(cubby_status status) noexcept {
    error found(status);
    found.details_.struct_size = sizeof found.details_;
    cubby_explain(&found.details_, found.text_, sizeof found.text_);
    found.details_.status = status;
    return found;
  }

  /// One of CUBBY_ERR_*, CUBBY_MISS or CUBBY_PARTIAL.
  [[nodiscard]] cubby_status status() const noexcept {
    return static_cast<cubby_status>(details_.status);
  }
  /// Name of the status, "BUDGET"; stands for ever.
  [[nodiscard]] const char *name() const noexcept { return cubby_status_name(status()); }
  /// The sentence; stands as long as this object; may be empty.
  [[nodiscard]] const char *text() const noexcept { return text_; }
  /// Tier, locker, offset_bytes, needed_bytes, errno and what may be retried; see cubby.h.
  [[nodiscard]] const cubby_error &details() const noexcept { return details_; }

 private:
  cubby_error details_{};
  char text_[512] = "";
};

/// What value() throws when there is an error instead.
class failure : public std::exception {
 public:
  /// Carries `why`.
  explicit failure(const error &why) noexcept : why_(why) {}
  /// The error's sentence, or the name of its status.
  const char *what() const noexcept override {
    return why_.text()[0] != '\0' ? why_.text() : why_.name();
  }
  /// The error itself.
  [[nodiscard]] const error &why() const noexcept { return why_; }

 private:
  error why_;
};

namespace detail {

[[noreturn]] inline void raise(const error &why) {
#if defined(__cpp_exceptions)
  throw failure(why);
#else
  (void)why;
  std::abort();
#endif
}

}  // namespace detail

/// A value or an error. One path for both styles: test it and read why(), or call value(), which
/// throws `failure` (or, without exceptions, aborts) when there is no value.
template <class T>
class [[nodiscard]] result {
 public:
  /// Holds a value.
  result(T value) noexcept : value_(std::move(value)) {}
  /// Holds an error.
  result(const error &why) noexcept : why_(why) {}

  /// Whether there is a value.
  [[nodiscard]] explicit operator bool() const noexcept { return value_.has_value(); }
  /// The value, or `failure` thrown.
  [[nodiscard]] T &value() & { return checked(), *value_; }
  /// The value, or `failure` thrown.
  [[nodiscard]] const T &value() const & { return checked(), *value_; }
  /// The value moved out, or `failure` thrown.
  [[nodiscard]] T value() && { return checked(), std::move(*value_); }
  /// The value; calling it on an error is a mistake, treated as value() does.
  [[nodiscard]] T &operator*() & { return value(); }
  /// The value; calling it on an error is a mistake, treated as value() does.
  [[nodiscard]] const T &operator*() const & { return value(); }
  /// Member of the value; calling it on an error is a mistake, treated as value() does.
  [[nodiscard]] T *operator->() { return &value(); }
  /// Member of the value; calling it on an error is a mistake, treated as value() does.
  [[nodiscard]] const T *operator->() const { return &value(); }
  /// The error; status CUBBY_OK when there is a value.
  [[nodiscard]] const error &why() const noexcept { return why_; }

 private:
  void checked() const {
    if (!value_.has_value()) detail::raise(why_);
  }

  std::optional<T> value_;
  error why_{CUBBY_OK};
};

/// Done, or an error.
template <>
class [[nodiscard]] result<void> {
 public:
  /// Done.
  result() noexcept = default;
  /// Holds an error.
  result(const error &why) noexcept : why_(why) {}

  /// Whether it was done.
  [[nodiscard]] explicit operator bool() const noexcept { return why_.status() == CUBBY_OK; }
  /// Nothing, or `failure` thrown.
  void value() const {
    if (why_.status() != CUBBY_OK) detail::raise(why_);
  }
  /// The error; status CUBBY_OK when it was done.
  [[nodiscard]] const error &why() const noexcept { return why_; }

 private:
  error why_{CUBBY_OK};
};

namespace detail {

inline result<void> done_or_error(cubby_status status) noexcept {
  if (status == CUBBY_OK) return {};
  return error::last(status);
}

template <class T>
T sized() noexcept {
  T made{};
  made.struct_size = sizeof made;
  return made;
}

/// What pins share with their runtime, so that they notice its end.
class core {
 public:
  explicit core(cubby_handle *runtime) noexcept : runtime_(runtime) {}
  core(const core &) = delete;
  core &operator=(const core &) = delete;

  cubby_handle *get() const noexcept { return runtime_.load(std::memory_order_acquire); }
  cubby_handle *take() noexcept { return runtime_.exchange(nullptr, std::memory_order_acq_rel); }
  void use() noexcept { uses_.fetch_add(1, std::memory_order_relaxed); }
  void drop() noexcept {
    if (uses_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }

 private:
  ~core() = default;
  std::atomic<cubby_handle *> runtime_;
  std::atomic<uint32_t> uses_{1};
};

/// A counted use of a core.
class core_ref {
 public:
  core_ref() noexcept = default;
  explicit core_ref(core *adopted) noexcept : core_(adopted) {}
  core_ref(const core_ref &other) noexcept : core_(other.core_) {
    if (core_ != nullptr) core_->use();
  }
  core_ref(core_ref &&other) noexcept : core_(std::exchange(other.core_, nullptr)) {}
  core_ref &operator=(core_ref other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  ~core_ref() {
    if (core_ != nullptr) core_->drop();
  }

  cubby_handle *get() const noexcept { return core_ == nullptr ? nullptr : core_->get(); }
  core *operator->() const noexcept { return core_; }
  explicit operator bool() const noexcept { return core_ != nullptr; }

 private:
  core *core_ = nullptr;
};

}  // namespace detail

// ---- numbers with a kind ------------------------------------------------------------------------

/// A tier of one runtime; a number. A default one names none, which "everywhere" means where
/// allowed.
class tier {
 public:
  /// Names none.
  constexpr tier() noexcept = default;
  /// The tier that cubby.h knows by this handle.
  explicit constexpr tier(cubby_tier handle) noexcept : handle_(handle) {}
  /// The handle for calls of cubby.h.
  [[nodiscard]] constexpr cubby_tier handle() const noexcept { return handle_; }

 private:
  cubby_tier handle_ = 0;
};

/// Memory of the caller made known to one runtime; a number. The memory stays the caller's.
class region {
 public:
  /// Names none.
  constexpr region() noexcept = default;
  /// The region that cubby.h knows by this handle.
  explicit constexpr region(cubby_region handle) noexcept : handle_(handle) {}
  /// The handle for calls of cubby.h.
  [[nodiscard]] constexpr cubby_region handle() const noexcept { return handle_; }

 private:
  cubby_region handle_ = 0;
};

/// An accepted asynchronous request; a number. It completes exactly once, whether or not anyone
/// waits.
class ticket {
 public:
  /// Names none.
  constexpr ticket() noexcept = default;
  /// The request that cubby.h knows by this ticket.
  explicit constexpr ticket(cubby_ticket handle) noexcept : handle_(handle) {}
  /// The ticket for calls of cubby.h; 0 = there is nothing to wait for.
  [[nodiscard]] constexpr cubby_ticket handle() const noexcept { return handle_; }

 private:
  cubby_ticket handle_ = 0;
};

/// A bank with its geometry; copied freely, good until the bank is removed.
class bank {
 public:
  /// Names none.
  bank() noexcept = default;
  /// The bank that cubby.h knows by this handle, as cubby_bank_info() described it.
  bank(cubby_bank handle, const cubby_bank_desc &info) noexcept : handle_(handle), info_(info) {}

  /// The handle for calls of cubby.h.
  [[nodiscard]] cubby_bank handle() const noexcept { return handle_; }
  /// Everything known of it; pointers inside stand until the bank is removed.
  [[nodiscard]] const cubby_bank_desc &info() const noexcept { return info_; }
  /// Rows of the grid (experts: layers with experts).
  [[nodiscard]] uint32_t rows() const noexcept { return info_.rows; }
  /// Columns of the grid (experts: experts of a layer).
  [[nodiscard]] uint32_t columns() const noexcept { return info_.columns; }
  /// Lockers in all.
  [[nodiscard]] uint64_t locker_count() const noexcept { return uint64_t{rows()} * columns(); }
  /// Pieces of one locker with an address each; at least 1.
  [[nodiscard]] uint32_t part_count() const noexcept {
    return info_.part_count == 0 ? 1 : info_.part_count;
  }
  /// Number of a locker in the grid.
  [[nodiscard]] uint64_t number(uint32_t row, uint32_t column) const noexcept {
    return uint64_t{row} * columns() + column;
  }
  /// The same as cubby.h names it.
  [[nodiscard]] cubby_id id(uint64_t number) const noexcept { return CUBBY_ID(handle_, number); }
  /// Size of each locker of a row.
  [[nodiscard]] uint64_t locker_bytes(uint32_t row) const noexcept {
    return info_.row_bytes != nullptr && row < rows() ? info_.row_bytes[row] : info_.locker_bytes;
  }
  /// Size of a part of each locker of a row; 0 past the last row or part.
  [[nodiscard]] uint64_t part_bytes(uint32_t row, uint32_t part) const noexcept {
    if (row >= rows() || part >= part_count()) return 0;
    if (info_.part_bytes == nullptr) return part == 0 ? locker_bytes(row) : 0;
    const uint64_t of_row = info_.row_bytes != nullptr ? uint64_t{row} * part_count() : 0;
    return info_.part_bytes[of_row + part];
  }
  /// Rows of a table in all; 0 for other banks.
  [[nodiscard]] uint64_t table_row_count() const noexcept { return info_.table_row_count; }
  /// Size of a row of a table; 0 for other banks.
  [[nodiscard]] uint32_t table_row_bytes() const noexcept { return info_.table_row_bytes; }
  /// The locker in which a row of the table lies, as prefetch names it.
  [[nodiscard]] uint64_t page_of(uint64_t table_row) const noexcept {
    return info_.table_row_bytes == 0 ? 0 : table_row / (locker_bytes(0) / info_.table_row_bytes);
  }

 private:
  cubby_bank handle_ = 0;
  cubby_bank_desc info_{};
};

// ---- options ------------------------------------------------------------------------------------

/// A wait without end.
inline constexpr std::chrono::nanoseconds forever{-1};

/// Who advances the runtime.
enum class pump : uint32_t {
  thread = CUBBY_PUMP_THREAD,  ///< a thread of its own
  caller = CUBBY_PUMP_CALLER   ///< whoever calls poll() or wait()
};

/// How urgent a request is, most urgent first.
enum class io_class : uint8_t {
  demand = CUBBY_DEMAND,         ///< compute waits for it
  committed = CUBBY_COMMITTED,   ///< it will be needed for certain
  forecast = CUBBY_FORECAST,     ///< it may be needed
  write_back = CUBBY_WRITE_BACK  ///< nobody waits
};

/// How a runtime is opened. Strings are read during the call.
struct runtime_options {
  cubby::pump pump = cubby::pump::thread;  ///< who advances it
  bool verify = true;                      ///< hold what is loaded against its digests
  uint32_t tickets_max = 0;                ///< requests alive at once; 0 = 4096; beyond: BUSY
  uint32_t log_lines_max = 0;              ///< lines of the log ring; 0 = 1024; losses are counted
  uint64_t table_bytes_max = 0;            ///< ceiling for its own tables; 0 = as needed
  const char *policy = nullptr;   ///< name from cubby_policy_list(); NULL = each bank's own
  uint64_t seed = 0;              ///< for randomised policies; same seed, same decisions
  uint32_t workers = 0;           ///< threads that verify reads beside the pump; see cubby_config
  const char *profile = nullptr;  ///< file of `cubby characterize --save`; NULL = none
};

/// A tier to be added. Strings and arrays are read during the call.
struct tier_options {
  const char *backend = "host";  ///< "host", "file", "uring", "threadpool", "cuda" or a loaded one
  const char *name = nullptr;    ///< "host:0"; unique in the runtime
  uint32_t rank = 0;             ///< 0 is nearest to compute
  int32_t device = -1;           ///< ordinal of the device; -1 = none
  uint64_t numa_nodes = 0;       ///< a bit a node; 0 = beside the device that uses it
  uint64_t budget_bytes = 0;     ///< what its frames may take
  bool exclusive = false;        ///< give up the copy when a nearer tier takes the locker
  std::span<const cubby_region> memory = {};  ///< lent memory as its frames; empty = its own
  std::span<const char *const> paths = {};    ///< file tiers: one directory a device
  uint32_t emulated_latency_ns = 0;           ///< link latency of an emulated device
  uint64_t emulated_bytes_per_s = 0;          ///< link speed of one; 0 = not emulated
};

/// See below.
class completion_queue;

/// The key of a text, which it refers to.
[[nodiscard]] inline cubby_key key_of(std::string_view text) noexcept {
  return {text.data(), static_cast<uint32_t>(text.size())};
}

/// Memory of this process as a span of an item.
[[nodiscard]] inline cubby_span span_of(std::span<const std::byte> memory) noexcept {
  return {0, 0, reinterpret_cast<uintptr_t>(memory.data()), memory.size()};
}

/// A piece of a region as a span of an item; of strided ones bytes count through the pieces.
[[nodiscard]] inline cubby_span span_of(region of, uint64_t offset_bytes, uint64_t bytes) noexcept {
  return {of.handle(), 0, offset_bytes, bytes};
}

/// A stream of a device by its native handle as an integer, 0 = the device's default stream: an
/// order that how::sync and pins::release() name in place of the host's.
[[nodiscard]] inline cubby_sync stream_order(uint64_t stream, int32_t device = 0) noexcept {
  auto order = detail::sized<cubby_sync>();
  order.device = device;
  order.stream = stream;
  return order;
}

/// How a request is served.
struct how {
  cubby::io_class io_class = cubby::io_class::demand;  ///< urgency
  bool no_visit = false;                               ///< not evidence of use
  bool no_wait = false;                                ///< what is not resident is a MISS at once
  bool bypass = false;                                 ///< keep no copy once it is unpinned
  uint8_t keep = CUBBY_KEEP_SESSION;                   ///< CUBBY_KEEP_*, for what is produced
  uint8_t priority = 0;                                ///< among requests of one class
  uint32_t ttl_ms = 0;                      ///< how long it is worth keeping; 0 = not said
  uint64_t deadline_ns = 0;                 ///< absolute; 0 = none
  uint64_t user = 0;                        ///< handed back in cubby_done
  const completion_queue *queue = nullptr;  ///< where it completes; NULL = only wait() sees it
  int8_t *item_status = nullptr;            ///< [count], yours until completion; pin() has its own
  std::optional<cubby_sync> sync = {};      ///< order with a device's stream; none = the host's
};

// ---- completion queue ---------------------------------------------------------------------------

/// A bounded queue of completions with a descriptor to sleep on. Owns the queue; destruction
/// removes it. Destroy it after its tickets have completed, or after the runtime: while a ticket
/// names it it cannot be removed, and stays until the process ends. Any thread may take.
class completion_queue {
 public:
  /// Names none.
  completion_queue() noexcept = default;
  completion_queue(completion_queue &&other) noexcept
      : queue_(std::exchange(other.queue_, nullptr)) {}
  completion_queue &operator=(completion_queue &&other) noexcept {
    std::swap(queue_, other.queue_);
    return *this;
  }
  completion_queue(const completion_queue &) = delete;
  completion_queue &operator=(const completion_queue &) = delete;
  ~completion_queue() {
    if (queue_ != nullptr) cubby_cq_remove(queue_);
  }

  /// Completions that are there now, at most out.size(); never blocks. Returns how many were
  /// written.
  [[nodiscard]] uint32_t take(std::span<cubby_done> out) const noexcept {
    if (queue_ == nullptr) return 0;
    return cubby_cq_take(queue_, out.data(), static_cast<uint32_t>(out.size()));
  }
  /// Readable exactly while the queue is not empty; stays the queue's, is never read; -1 = no
  /// queue.
  [[nodiscard]] int fd() const noexcept { return queue_ == nullptr ? -1 : cubby_cq_fd(queue_); }
  /// Blocks until a completion is there to be taken; else TIMEOUT. A zero timeout looks. In caller
  /// pump it advances the runtime meanwhile. Any thread; one waiter is enough.
  result<void> wait(std::chrono::nanoseconds timeout = forever) const noexcept {
    return detail::done_or_error(cubby_cq_wait(queue_, timeout.count()));
  }
  /// The queue for calls of cubby.h.
  [[nodiscard]] cubby_cq *handle() const noexcept { return queue_; }

 private:
  friend class runtime;
  explicit completion_queue(cubby_cq *queue) noexcept : queue_(queue) {}

  cubby_cq *queue_ = nullptr;
};

namespace detail {

/// Stands as long as `with`.
inline cubby_how how_of(const how &with) noexcept {
  auto made = sized<cubby_how>();
  made.flags = (with.no_visit ? uint32_t{CUBBY_NO_VISIT} : 0u) |
               (with.no_wait ? uint32_t{CUBBY_NO_WAIT} : 0u) |
               (with.bypass ? uint32_t{CUBBY_BYPASS} : 0u);
  made.io_class = static_cast<uint8_t>(with.io_class);
  made.keep = with.keep;
  made.priority = with.priority;
  made.ttl_ms = with.ttl_ms;
  made.deadline_ns = with.deadline_ns;
  made.user = with.user;
  made.cq = with.queue == nullptr ? nullptr : with.queue->handle();
  made.item_status = with.item_status;
  made.sync = with.sync ? &*with.sync : nullptr;
  return made;
}

/// An array that says no instead of throwing.
template <class T>
std::unique_ptr<T[]> array_of(size_t count) noexcept {
  return std::unique_ptr<T[]>(new (std::nothrow) T[count]());
}

/// Items that name lockers of a bank by number; the 32 of an ordinary visit need no heap.
class item_list {
 public:
  item_list(const bank &of, std::span<const uint64_t> numbers) noexcept {
    if (numbers.size() > near_max) far_ = array_of<cubby_item>(numbers.size());
    cubby_item *items = numbers.size() > near_max ? far_.get() : near_;
    if (items == nullptr) return;
    items_ = items;
    for (size_t i = 0; i < numbers.size(); ++i) items[i].id = of.id(numbers[i]);
    count_ = numbers.size();
  }
  item_list(const item_list &) = delete;
  item_list &operator=(const item_list &) = delete;
  /// Whether there was memory for them.
  explicit operator bool() const noexcept { return items_ != nullptr; }
  std::span<const cubby_item> get() const noexcept { return {items_, count_}; }

 private:
  static constexpr size_t near_max = 32;
  cubby_item near_[near_max] = {};
  std::unique_ptr<cubby_item[]> far_;
  const cubby_item *items_ = nullptr;
  size_t count_ = 0;
};

/// As the calls of cubby.h count.
template <class T>
uint32_t count_of(std::span<const T> of) noexcept {
  return static_cast<uint32_t>(of.size());
}

/// A request that was made: to be waited for, done already, or an error.
inline result<ticket> ticket_or_error(cubby_status status, cubby_ticket accepted) noexcept {
  if (status != CUBBY_OK && status != CUBBY_PENDING) return error::last(status);
  return ticket(status == CUBBY_OK ? 0 : accepted);
}

}  // namespace detail

// ---- pins ---------------------------------------------------------------------------------------

/// Lockers of one bank held together in one tier. Owns the hold: destruction unpins. While a load
/// is under way destruction withdraws it and blocks until the runtime has let go of the arrays
/// inside; under a caller-driven pump it advances the runtime meanwhile. Bytes are read-only and
/// stand until then. In a device's tier addresses are the device's, and are not read by the host.
/// One thread at a time.
class pins {
 public:
  /// Holds nothing.
  pins() noexcept = default;
  pins(pins &&other) noexcept { swap(other); }
  pins &operator=(pins &&other) noexcept {
    pins old(std::move(*this));
    swap(other);
    return *this;
  }
  pins(const pins &) = delete;
  pins &operator=(const pins &) = delete;
  ~pins() { release(); }

  /// Lockers in the set.
  [[nodiscard]] uint32_t size() const noexcept { return count_; }
  /// Whether some may still be on their way: nobody has waited for the set since it was asked for.
  [[nodiscard]] bool pending() const noexcept { return ticket_.handle() != 0; }
  /// The request to wait for or cancel; none when everything was resident.
  [[nodiscard]] ticket request() const noexcept { return ticket_; }

  /// Status of locker i; final once it is not PENDING. INVALID past the last one.
  [[nodiscard]] cubby_status status(uint32_t i) const noexcept {
    if (i >= count_) return CUBBY_ERR_INVALID;
    const int8_t now = std::atomic_ref<int8_t>(status_[i]).load(std::memory_order_acquire);
    return static_cast<cubby_status>(now);
  }
  /// Whether the bytes of locker i may be read now: so compute starts while the rest arrives.
  [[nodiscard]] bool ready(uint32_t i) const noexcept { return status(i) == CUBBY_OK; }

  /// Bytes of a part of locker i, in the tier's memory; empty unless ready(i).
  [[nodiscard]] std::span<const std::byte> bytes(uint32_t i, uint32_t part = 0) const noexcept {
    if (!ready(i) || part >= bank_.part_count()) return {};
    const auto row = static_cast<uint32_t>(numbers_[i] / bank_.columns());
    const void *first = address_[size_t{i} * bank_.part_count() + part];
    return {static_cast<const std::byte *>(first), bank_.part_bytes(row, part)};
  }
  /// Addresses of every part of every locker, part p of locker i at [i * part_count + p]; those of
  /// lockers that are not ready mean nothing yet.
  [[nodiscard]] std::span<const void *const> addresses() const noexcept {
    return {address_.get(), size_t{count_} * bank_.part_count()};
  }

  /// Blocks until every locker is there or has failed. PARTIAL: status(i) says which are held.
  /// TIMEOUT: still on its way.
  result<void> wait(std::chrono::nanoseconds timeout = forever) noexcept {
    if (ticket_.handle() == 0) return {};
    cubby_handle *runtime = core_.get();
    if (runtime == nullptr) return error(CUBBY_ERR_SHUTDOWN);
    const cubby_status status = cubby_wait(runtime, ticket_.handle(), timeout.count());
    if (status == CUBBY_ERR_TIMEOUT) return error::last(status);
    ticket_ = {};
    if (status < 0) handle_ = 0;  // after an error nothing is held
    return detail::done_or_error(status);
  }
  /// Gives up the hold now, as destruction does; the object then holds nothing.
  void release() noexcept {
    cubby_handle *runtime = core_.get();
    if (runtime != nullptr) {
      if (handle_ != 0) cubby_unpin(runtime, handle_, 0, 0, nullptr);
      if (ticket_.handle() != 0) (void)cubby_wait(runtime, ticket_.handle(), -1);
    }
    handle_ = 0;
    ticket_ = {};
    count_ = 0;
  }
  /// The same in the order of a stream of the tier's device: the frames are not used again before
  /// it has done what it was given so far. An error is the stream's, and the set is held as before.
  result<void> release(const cubby_sync &behind) noexcept {
    cubby_handle *runtime = core_.get();
    if (runtime != nullptr && handle_ != 0) {
      const cubby_status status = cubby_unpin(runtime, handle_, 0, 0, &behind);
      if (status < 0 && status != CUBBY_ERR_STALE) return error::last(status);
      handle_ = 0;
    }
    release();
    return {};
  }

 private:
  friend class runtime;

  void swap(pins &other) noexcept {
    std::swap(core_, other.core_);
    std::swap(handle_, other.handle_);
    std::swap(ticket_, other.ticket_);
    std::swap(bank_, other.bank_);
    std::swap(count_, other.count_);
    std::swap(numbers_, other.numbers_);
    std::swap(address_, other.address_);
    std::swap(status_, other.status_);
  }

  detail::core_ref core_;
  cubby_pins handle_ = 0;
  ticket ticket_;
  bank bank_;
  uint32_t count_ = 0;
  std::unique_ptr<uint64_t[]> numbers_;
  std::unique_ptr<const void *[]> address_;
  std::unique_ptr<int8_t[]> status_;
};

// ---- blocks that are written in place, leases ---------------------------------------------------

/// Frames of new KV blocks, to be written in place: nobody finds them before commit(). Owns them:
/// destruction abandons what is left. One thread at a time.
class reservation {
 public:
  /// Holds nothing.
  reservation() noexcept = default;
  reservation(reservation &&other) noexcept { swap(other); }
  reservation &operator=(reservation &&other) noexcept {
    reservation old(std::move(*this));
    swap(other);
    return *this;
  }
  reservation(const reservation &) = delete;
  reservation &operator=(const reservation &) = delete;
  ~reservation() { (void)abandon(); }

  /// Blocks that were reserved together.
  [[nodiscard]] uint32_t size() const noexcept { return count_; }
  /// Memory of a part of block i, to be written until it is committed or abandoned; empty: its key
  /// is known already, and nothing need be written.
  [[nodiscard]] std::span<std::byte> bytes(uint32_t i, uint32_t part = 0) const noexcept {
    if (i >= count_ || part >= bank_.part_count()) return {};
    void *first = address_[size_t{i} * bank_.part_count() + part];
    if (first == nullptr) return {};
    return {static_cast<std::byte *>(first), bank_.part_bytes(0, part)};
  }
  /// Publishes blocks first to first + count - 1, each once; count 0 = all that are left. Answers
  /// as runtime::put(). how::item_status: one of each of them; how::keep may ask for longer.
  result<ticket> commit(const how &with = {}, uint32_t first = 0, uint32_t count = 0) noexcept {
    cubby_handle *rt = core_.get();
    if (rt == nullptr) return error(CUBBY_ERR_SHUTDOWN);
    const cubby_how request = detail::how_of(with);
    cubby_ticket accepted = 0;
    const cubby_status status = cubby_commit(rt, handle_, first, count, 1, &request, &accepted);
    if (first == 0 && count == 0) forget_after(status);
    return detail::ticket_or_error(status, accepted);
  }
  /// Gives blocks up, as destruction does; nobody ever finds them. STALE: none were left.
  result<void> abandon(uint32_t first = 0, uint32_t count = 0) noexcept {
    cubby_handle *rt = core_.get();
    if (rt == nullptr || handle_ == 0) return {};
    const cubby_status status = cubby_commit(rt, handle_, first, count, 0, nullptr, nullptr);
    if (first == 0 && count == 0) forget_after(status);
    return detail::done_or_error(status);
  }

 private:
  friend class runtime;

  /// All are published or given up, and their memory is not to be written any more.
  void forget_after(cubby_status status) noexcept {
    if (status < 0 && status != CUBBY_ERR_STALE) return;
    handle_ = 0;
    count_ = 0;
  }
  void swap(reservation &other) noexcept {
    std::swap(core_, other.core_);
    std::swap(handle_, other.handle_);
    std::swap(bank_, other.bank_);
    std::swap(count_, other.count_);
    std::swap(address_, other.address_);
  }

  detail::core_ref core_;
  cubby_pins handle_ = 0;
  bank bank_;
  uint32_t count_ = 0;
  std::unique_ptr<void *[]> address_;
};

/// Keys that stay findable, with their bytes where they are. Owns that: destruction ends it. One
/// thread at a time.
class lease {
 public:
  /// Holds nothing.
  lease() noexcept = default;
  lease(lease &&other) noexcept { swap(other); }
  lease &operator=(lease &&other) noexcept {
    lease old(std::move(*this));
    swap(other);
    return *this;
  }
  lease(const lease &) = delete;
  lease &operator=(const lease &) = delete;
  ~lease() { (void)end(); }

  /// Releases keys first to first + count - 1, count 0 = all. STALE: it is over already.
  result<void> end(uint32_t first = 0, uint32_t count = 0) noexcept {
    cubby_handle *rt = core_.get();
    if (rt == nullptr || handle_ == 0) return {};
    const cubby_status status = cubby_lease_end(rt, handle_, first, count);
    const bool over = status == CUBBY_OK || status == CUBBY_ERR_STALE;
    if (over && count == 0) handle_ = 0;
    return detail::done_or_error(status);
  }

 private:
  friend class runtime;

  void swap(lease &other) noexcept {
    std::swap(core_, other.core_);
    std::swap(handle_, other.handle_);
  }

  detail::core_ref core_;
  cubby_pins handle_ = 0;
};

// ---- of the library -----------------------------------------------------------------------------

/// The library's version: major << 16 | minor << 8 | patch.
[[nodiscard]] inline uint32_t version() noexcept { return cubby_version(); }
/// Names of placement policies into `names`, at most names.size(); how many there are.
[[nodiscard]] inline uint32_t policies(std::span<const char *> names) noexcept {
  return cubby_policy_list(names.data(), static_cast<uint32_t>(names.size()));
}
/// Takes lines of the log that belong to no runtime; returns how many were written.
[[nodiscard]] inline uint32_t take_process_log(std::span<cubby_log_line> out) noexcept {
  return cubby_log_take(nullptr, out.data(), static_cast<uint32_t>(out.size()));
}

// ---- runtime ------------------------------------------------------------------------------------

/// A runtime. Owns it: destruction closes it, which completes or cancels every ticket and blocks
/// until that is done. Not usable across fork: calls in the child give FORKED.
class runtime {
 public:
  /// Opens one. Errors: INVALID, NO_MEMORY.
  static result<runtime> open(const runtime_options &with = {}) noexcept {
    auto config = detail::sized<cubby_config>();
    config.abi_version = CUBBY_ABI_VERSION;
    config.pump = static_cast<uint32_t>(with.pump);
    config.verify = with.verify ? CUBBY_VERIFY_ON : CUBBY_VERIFY_OFF;
    config.tickets_max = with.tickets_max;
    config.log_lines_max = with.log_lines_max;
    config.table_bytes_max = with.table_bytes_max;
    config.policy = with.policy;
    config.seed = with.seed;
    config.workers = with.workers;
    config.profile = with.profile;
    cubby_handle *opened = nullptr;
    if (const cubby_status status = cubby_open(&config, &opened); status != CUBBY_OK) {
      return error::last(status);
    }
    auto *shared = new (std::nothrow) detail::core(opened);
    if (shared == nullptr) {
      cubby_close(opened);
      return error(CUBBY_ERR_NO_MEMORY);
    }
    return runtime(detail::core_ref(shared));
  }

  runtime(runtime &&other) noexcept = default;
  runtime &operator=(runtime &&other) noexcept {
    std::swap(core_, other.core_);
    return *this;
  }
  runtime(const runtime &) = delete;
  runtime &operator=(const runtime &) = delete;
  ~runtime() { (void)close(); }

  /// Completes or cancels every ticket, writes back what was promised and ends the runtime's
  /// thread. Blocks. Afterwards every call gives SHUTDOWN. FORKED in a child: the runtime is the
  /// parent's.
  result<void> close() noexcept {
    cubby_handle *open = core_ ? core_->take() : nullptr;
    if (open == nullptr) return {};
    return detail::done_or_error(cubby_close(open));
  }
  /// The handle for calls of cubby.h that have no face here; NULL once closed.
  [[nodiscard]] cubby_handle *handle() const noexcept { return core_.get(); }

  /// Caller-driven pump: advances until nothing more can be done now. One at a time; BUSY at once
  /// for a second caller. now_ns 0 = read the clock. Gives the time to call again at; ~0 = no need.
  result<uint64_t> poll(uint64_t now_ns = 0) noexcept {
    uint64_t next_ns = ~uint64_t{0};
    return call<uint64_t>([&](cubby_handle *rt) { return cubby_poll(rt, now_ns, &next_ns); },
                          [&] { return next_ns; });
  }

  /// Adds a tier. May take long: its memory is touched. Errors: INVALID, NO_MEMORY (needed_bytes),
  /// NOT_SUPPORTED, DENIED, BUDGET.
  result<tier> add_tier(const tier_options &with) noexcept {
    auto desc = detail::sized<cubby_tier_desc>();
    desc.flags = with.exclusive ? uint32_t{CUBBY_TIER_EXCLUSIVE} : 0u;
    desc.backend = with.backend;
    desc.name = with.name;
    desc.rank = with.rank;
    desc.device = with.device;
    desc.numa_nodes = with.numa_nodes;
    desc.budget_bytes = with.budget_bytes;
    desc.memory = with.memory.empty() ? nullptr : with.memory.data();
    desc.memory_count = static_cast<uint32_t>(with.memory.size());
    desc.paths = with.paths.empty() ? nullptr : with.paths.data();
    desc.path_count = static_cast<uint32_t>(with.paths.size());
    desc.emulated_latency_ns = with.emulated_latency_ns;
    desc.emulated_bytes_per_s = with.emulated_bytes_per_s;
    cubby_tier added = 0;
    return call<tier>([&](cubby_handle *rt) { return cubby_tier_add(rt, &desc, &added); },
                      [&] { return tier(added); });
  }
  /// Changes a budget; shrinking evicts, and the ticket completes when the budget holds. BUDGET
  /// when pinned bytes alone exceed it (needed_bytes says).
  result<ticket> resize(tier which, uint64_t budget_bytes) noexcept {
    return ticket_call([&](cubby_handle *rt, cubby_ticket *out) {
      return cubby_tier_resize(rt, which.handle(), budget_bytes, out);
    });
  }
  /// What a tier turned out to be.
  result<cubby_tier_info> describe(tier which) const noexcept {
    auto info = detail::sized<cubby_tier_info>();
    return call<cubby_tier_info>(
        [&](cubby_handle *rt) { return cubby_tier_describe(rt, which.handle(), &info); },
        [&] { return info; });
  }
  /// Loads a third-party backend; see backend.h. Errors: NOT_SUPPORTED, INVALID.
  result<void> load_backend(const char *library_path) noexcept {
    return call([&](cubby_handle *rt) { return cubby_backend_load(rt, library_path); });
  }

  /// Makes memory of the caller known; it stays the caller's and must stand until removed.
  result<region> add_region(std::span<std::byte> memory) noexcept {
    auto desc = detail::sized<cubby_region_desc>();
    desc.kind = CUBBY_MEMORY_HOST;
    desc.fd = -1;
    desc.base = memory.data();
    desc.bytes = memory.size();
    return add_region(desc);
  }
  /// The same for memory of any kind and shape.
  result<region> add_region(const cubby_region_desc &desc) noexcept {
    cubby_region added = 0;
    return call<region>([&](cubby_handle *rt) { return cubby_region_add(rt, &desc, &added); },
                        [&] { return region(added); });
  }
  /// Forgets a region. BUSY while a ticket or tier names it.
  result<void> remove(region which) noexcept {
    return call([&](cubby_handle *rt) { return cubby_region_remove(rt, which.handle()); });
  }

  /// Makes a bank of a model file in place: nothing is copied or rewritten. Reads headers, so it
  /// blocks for as long as that takes. Errors: FORMAT (offset_bytes), IO, DENIED, INVALID.
  result<bank> adopt(const char *path, const cubby_adopt_desc *with = nullptr) noexcept {
    cubby_bank added = 0;
    return bank_call([&](cubby_handle *rt) { return cubby_bank_adopt(rt, path, with, &added); },
                     added);
  }
  /// Reads an adopted bank from one more device, where `path` is a copy of its file: see
  /// cubby_bank_add_copy(). Blocks for the file system. Errors: INVALID, IO, DENIED, CORRUPT, STALE.
  result<void> add_copy(const bank &which, const char *path) noexcept {
    return call([&](cubby_handle *rt) { return cubby_bank_add_copy(rt, which.handle(), path); });
  }
  /// Adds a bank as described.
  result<bank> add_bank(const cubby_bank_desc &desc) noexcept {
    cubby_bank added = 0;
    return bank_call([&](cubby_handle *rt) { return cubby_bank_add(rt, &desc, &added); }, added);
  }
  /// Says in which extents of which files the lockers of a bank lie. Arrays are read during the
  /// call.
  result<void> map(const bank &which, std::span<const char *const> files,
                   std::span<const cubby_extent> extents) noexcept {
    return call([&](cubby_handle *rt) {
      return cubby_bank_map(rt, which.handle(), files.data(), static_cast<uint32_t>(files.size()),
                            extents.data(), extents.size());
    });
  }
  /// One of the files that an adopted or mapped bank reads, counted from 0. No I/O. MISS past the
  /// last one.
  result<cubby_file_info> file(const bank &of, uint32_t number) const noexcept {
    auto info = detail::sized<cubby_file_info>();
    return call<cubby_file_info>(
        [&](cubby_handle *rt) { return cubby_bank_file(rt, of.handle(), number, &info); },
        [&] { return info; });
  }
  /// What a part of the lockers of a row is. No I/O.
  result<cubby_part_info> part(const bank &of, uint32_t row, uint32_t number) const noexcept {
    auto info = detail::sized<cubby_part_info>();
    return call<cubby_part_info>(
        [&](cubby_handle *rt) { return cubby_bank_part(rt, of.handle(), row, number, &info); },
        [&] { return info; });
  }
  /// Where a part of a locker lies in a file, as map() takes it. No I/O.
  result<cubby_extent> extent(const bank &of, uint64_t number, uint32_t part) const noexcept {
    cubby_extent found{};
    return call<cubby_extent>(
        [&](cubby_handle *rt) { return cubby_bank_extent(rt, of.handle(), number, part, &found); },
        [&] { return found; });
  }
  /// Writes digests of a model file, to hold later loads against; resumable. progress() counts its
  /// chunks. INVALID: another file is in its place.
  result<ticket> seal(const char *path, const cubby_adopt_desc *with = nullptr,
                      const how &request = {}) noexcept {
    const cubby_how asked = detail::how_of(request);
    return ticket_call([&](cubby_handle *rt, cubby_ticket *out) {
      return cubby_seal(rt, path, with, &asked, out);
    });
  }
  /// Removes a bank. Waits up to 100 ms for pins and loads that end; BUSY: some do not. Copies of
  /// the `bank` are then stale.
  result<void> remove(const bank &which) noexcept {
    return call([&](cubby_handle *rt) { return cubby_bank_remove(rt, which.handle()); });
  }

  /// Holds lockers of a bank in a tier, all frames or none. Never blocks: what is not resident is
  /// on its way when the call returns (pins::wait). With how::sync, in a device's tier, a locker is
  /// ready once its copies are submitted, and what the stream is given afterwards waits for them.
  /// Errors, with nothing held: MISS (how::no_wait), BUSY, BUDGET, NO_MEMORY, INVALID, STALE.
  result<pins> pin(const bank &of, std::span<const uint64_t> numbers, tier in,
                   const how &with = {}) noexcept {
    const detail::item_list items(of, numbers);
    if (!items) return error(CUBBY_ERR_NO_MEMORY);
    return pin(of, items.get(), in, with);
  }
  /// The same of lockers of that bank by items: its blocks by key. MISS where a key is not there.
  result<pins> pin(const bank &of, std::span<const cubby_item> items, tier in,
                   const how &with = {}) noexcept {
    cubby_handle *rt = core_.get();
    if (rt == nullptr) return error(CUBBY_ERR_SHUTDOWN);
    pins held;
    held.numbers_ = detail::array_of<uint64_t>(items.size());
    held.address_ = detail::array_of<const void *>(items.size() * CUBBY_PARTS_MAX);
    held.status_ = detail::array_of<int8_t>(items.size());
    if (!held.numbers_ || !held.address_ || !held.status_) return error(CUBBY_ERR_NO_MEMORY);
    held.core_ = core_;
    held.bank_ = of;
    held.count_ = detail::count_of(items);
    for (size_t i = 0; i < items.size(); ++i) {
      // Blocks by key are all of one size.
      held.numbers_[i] = items[i].space == 0 ? items[i].id - of.id(0) : 0;
      held.status_[i] = CUBBY_PENDING;
    }
    cubby_how request = detail::how_of(with);
    request.item_status = held.status_.get();
    cubby_ticket accepted = 0;
    const cubby_status status = cubby_pin(rt, items.data(), held.count_, in.handle(), &request,
                                          &held.handle_, held.address_.get(), &accepted);
    if (status == CUBBY_PENDING) {
      held.ticket_ = ticket(accepted);
    } else if (status == CUBBY_OK) {
      for (size_t i = 0; i < items.size(); ++i) held.status_[i] = CUBBY_OK;
    } else if (status != CUBBY_PARTIAL) {
      held.handle_ = 0;
      return error::last(status);
    }
    return held;
  }
  /// Brings lockers near without holding them. The ticket is alive until it is waited for or taken.
  result<ticket> prefetch(const bank &of, std::span<const uint64_t> numbers, tier in,
                          const how &with = {.io_class = io_class::forecast}) noexcept {
    const detail::item_list items(of, numbers);
    if (!items) return error(CUBBY_ERR_NO_MEMORY);
    return prefetch(items.get(), in, with);
  }
  /// The same by items: blocks by key.
  result<ticket> prefetch(std::span<const cubby_item> items, tier in,
                          const how &with = {.io_class = io_class::forecast}) noexcept {
    const cubby_how request = detail::how_of(with);
    return ticket_call([&](cubby_handle *rt, cubby_ticket *out) {
      return cubby_prefetch(rt, items.data(), detail::count_of(items), in.handle(), &request, out);
    });
  }
  /// Gives up copies in a tier, or everywhere. BUSY when one is pinned.
  result<void> drop(const bank &of, std::span<const uint64_t> numbers, tier in = {}) noexcept {
    const detail::item_list items(of, numbers);
    if (!items) return error(CUBBY_ERR_NO_MEMORY);
    return drop(items.get(), in);
  }
  /// The same by items: a key goes with the last copy of its block.
  result<void> drop(std::span<const cubby_item> items, tier in = {}) noexcept {
    return call([&](cubby_handle *rt) {
      return cubby_drop(rt, items.data(), detail::count_of(items), in.handle());
    });
  }
  /// When each locker would be usable in the tier if it were asked for now, in ns from now, into
  /// ready_ns, which is as long as numbers. No I/O. INVALID when it is shorter.
  result<void> estimate(const bank &of, std::span<const uint64_t> numbers, tier in,
                        std::span<uint64_t> ready_ns) const noexcept {
    const detail::item_list items(of, numbers);
    if (!items) return error(CUBBY_ERR_NO_MEMORY);
    return estimate(items.get(), in, ready_ns);
  }
  /// The same by items: blocks by key.
  result<void> estimate(std::span<const cubby_item> items, tier in,
                        std::span<uint64_t> ready_ns) const noexcept {
    if (ready_ns.size() < items.size()) return error(CUBBY_ERR_INVALID);
    return call([&](cubby_handle *rt) {
      return cubby_estimate(rt, items.data(), detail::count_of(items), in.handle(),
                            ready_ns.data());
    });
  }
  /// Holds what lies in a tier of memory, a device's too, against the digests of what came there;
  /// nothing is loaded. wait() for the ticket. how::item_status says of each: MISS, it is not
  /// there; CORRUPT, its bytes are others, and the copy is given up. NOT_SUPPORTED without
  /// runtime_options::verify.
  result<ticket> verify(const bank &of, std::span<const uint64_t> numbers, tier in,
                        const how &with = {}) noexcept {
    const detail::item_list items(of, numbers);
    if (!items) return error(CUBBY_ERR_NO_MEMORY);
    return verify(items.get(), in, with);
  }
  /// The same by items: blocks by key.
  result<ticket> verify(std::span<const cubby_item> items, tier in, const how &with = {}) noexcept {
    const cubby_how request = detail::how_of(with);
    return ticket_call([&](cubby_handle *rt, cubby_ticket *out) {
      return cubby_verify(rt, items.data(), detail::count_of(items), in.handle(), &request, out);
    });
  }
  /// Makes the slot table of a bank in a tier of a device's memory: where kernels, which are given
  /// the result by value, find its lockers by number (cubby_device.cuh). It stands until it is
  /// removed. Errors: INVALID, BUSY, NOT_SUPPORTED, NO_MEMORY, STALE.
  result<cubby_slots> add_slots(const bank &of, tier in) noexcept {
    auto table = detail::sized<cubby_slots>();
    return call<cubby_slots>(
        [&](cubby_handle *rt) { return cubby_slots_add(rt, of.handle(), in.handle(), &table); },
        [&] { return table; });
  }
  /// Removes it: no kernel uses it any more. MISS: there is none. BUSY: what it loads takes long;
  /// it goes by itself afterwards.
  result<void> remove_slots(const bank &of, tier in) noexcept {
    return call([&](cubby_handle *rt) { return cubby_slots_remove(rt, of.handle(), in.handle()); });
  }
  /// Copies blocks into memory of the caller, which is the runtime's until completion. wait() for
  /// the ticket; MISS and PARTIAL are errors.
  result<ticket> get(std::span<const cubby_item> items, const how &with = {}) noexcept {
    const cubby_how request = detail::how_of(with);
    return ticket_call([&](cubby_handle *rt, cubby_ticket *out) {
      return cubby_get(rt, items.data(), static_cast<uint32_t>(items.size()), &request, out);
    });
  }
  /// Copies memory of the caller, read during the call, into blocks; those that outlive the process
  /// are found, and the ticket is done, once they are stored.
  result<ticket> put(std::span<const cubby_item> items, const how &with = {}) noexcept {
    const cubby_how request = detail::how_of(with);
    return ticket_call([&](cubby_handle *rt, cubby_ticket *out) {
      return cubby_put(rt, items.data(), static_cast<uint32_t>(items.size()), &request, out);
    });
  }

  /// Frames of new blocks of a bank in a tier, to be written in place: all, or none. Spans of items
  /// say how many bytes a block will have; none = all. BUSY without room now, BUDGET where there
  /// never will be.
  result<reservation> reserve(const bank &of, std::span<const cubby_item> items, tier in,
                              const how &with = {}) noexcept {
    reservation made;
    made.address_ = detail::array_of<void *>(items.size() * CUBBY_PARTS_MAX);
    if (!made.address_) return error(CUBBY_ERR_NO_MEMORY);
    const cubby_how request = detail::how_of(with);
    cubby_ticket none = 0;
    const result<void> reserved = call([&](cubby_handle *rt) {
      return cubby_reserve(rt, items.data(), detail::count_of(items), in.handle(), &request,
                           &made.handle_, made.address_.get(), &none);
    });
    if (!reserved) return reserved.why();
    made.core_ = core_;
    made.bank_ = of;
    made.count_ = detail::count_of(items);
    return made;
  }

  /// Copies rows of a table into memory of the caller, in the order asked, which is the runtime's
  /// until completion; wait() for the ticket. INVALID where `into` is not as long as the rows are.
  result<ticket> gather(const bank &of, std::span<const uint64_t> table_rows,
                        std::span<std::byte> into, const how &with = {}) noexcept {
    const cubby_how request = detail::how_of(with);
    cubby_span span{};
    span.offset_bytes = reinterpret_cast<uintptr_t>(into.data());
    span.bytes = into.size();
    return ticket_call([&](cubby_handle *rt, cubby_ticket *out) {
      return cubby_gather(rt, of.handle(), table_rows.data(),
                          static_cast<uint32_t>(table_rows.size()), &span, &request, out);
    });
  }

  /// Opens a space of keys of a bank of KV blocks; of what makes them interchangeable, and the
  /// tenant. Errors: STALE, INVALID.
  result<cubby_space> add_space(const bank &of, std::string_view fingerprint,
                                std::string_view domain = {}) noexcept {
    auto desc = detail::sized<cubby_space_desc>();
    desc.bank = of.handle();
    desc.fingerprint = fingerprint.data();
    desc.fingerprint_bytes = static_cast<uint32_t>(fingerprint.size());
    desc.domain = domain.data();
    desc.domain_bytes = static_cast<uint32_t>(domain.size());
    cubby_space added = 0;
    return call<cubby_space>([&](cubby_handle *rt) { return cubby_space_add(rt, &desc, &added); },
                             [&] { return added; });
  }
  /// Closes it; with the last one of its keys they are forgotten, but for what outlives the
  /// process.
  result<void> remove_space(cubby_space which) noexcept {
    return call([&](cubby_handle *rt) { return cubby_space_remove(rt, which); });
  }
  /// How many leading keys are usable. Never blocks. states: empty, or CUBBY_STATE_* of each key;
  /// INVALID when it is shorter than keys and not empty.
  result<uint32_t> match(cubby_space in, std::span<const cubby_key> keys,
                         std::span<uint8_t> states = {},
                         const cubby_match_rule *rule = nullptr) noexcept {
    if (!states.empty() && states.size() < keys.size()) return error(CUBBY_ERR_INVALID);
    uint32_t hits = 0;
    return call<uint32_t>(
        [&](cubby_handle *rt) {
          return cubby_match(rt, in, keys.data(), static_cast<uint32_t>(keys.size()), rule, &hits,
                             states.empty() ? nullptr : states.data());
        },
        [&] { return hits; });
  }

  /// Keeps keys findable, and their bytes where they are, until the lease ends or ttl_ms has passed
  /// (0 = until it ends). All or none: MISS where one is not there.
  result<lease> add_lease(cubby_space in, std::span<const cubby_key> keys,
                          uint32_t ttl_ms = 0) noexcept {
    lease held;
    const result<void> taken = call([&](cubby_handle *rt) {
      return cubby_lease(rt, in, keys.data(), detail::count_of(keys), ttl_ms, &held.handle_);
    });
    if (!taken) return taken.why();
    held.core_ = core_;
    return held;
  }
  /// Which keys of a prefix to load, and which to compute, so that all is ready first; see
  /// cubby_split. recompute_ns: of each key, when those before it are there; INVALID when shorter.
  result<cubby_split_result> split(cubby_space in, std::span<const cubby_key> keys,
                                   std::span<const uint64_t> recompute_ns, tier to) const noexcept {
    if (recompute_ns.size() < keys.size()) return error(CUBBY_ERR_INVALID);
    auto found = detail::sized<cubby_split_result>();
    return call<cubby_split_result>(
        [&](cubby_handle *rt) {
          return cubby_split(rt, in, keys.data(), detail::count_of(keys), recompute_ns.data(),
                             to.handle(), &found);
        },
        [&] { return found; });
  }

  /// Tells what was used, for banks whose pins carry how::no_visit. Arrays are read during the
  /// call.
  result<void> visit(const bank &of, std::span<const cubby_routed> routed) noexcept {
    return call([&](cubby_handle *rt) {
      return cubby_visit(rt, of.handle(), routed.data(), static_cast<uint32_t>(routed.size()));
    });
  }
  /// Tells what is known of the future; outcome: empty, or CUBBY_HINT_* of each. INVALID when it is
  /// shorter than hints and not empty.
  result<void> hint(std::span<const cubby_hint_item> hints,
                    std::span<uint8_t> outcome = {}) noexcept {
    if (!outcome.empty() && outcome.size() < hints.size()) return error(CUBBY_ERR_INVALID);
    return call([&](cubby_handle *rt) {
      return cubby_hint(rt, hints.data(), static_cast<uint32_t>(hints.size()),
                        outcome.empty() ? nullptr : outcome.data());
    });
  }

  /// A queue for completions. A request that finds no place in it is BUSY, so none is ever lost.
  result<completion_queue> add_queue(uint32_t capacity) noexcept {
    cubby_handle *rt = core_.get();
    if (rt == nullptr) return error(CUBBY_ERR_SHUTDOWN);
    cubby_cq *added = nullptr;
    if (const cubby_status status = cubby_cq_add(rt, capacity, &added); status != CUBBY_OK) {
      return error::last(status);
    }
    return completion_queue(added);
  }
  /// Blocks until a request completes; the request's own status, or TIMEOUT. A zero timeout looks;
  /// a ticket that names none is done.
  result<void> wait(ticket which, std::chrono::nanoseconds timeout = forever) noexcept {
    if (which.handle() == 0) return {};
    return call([&](cubby_handle *rt) { return cubby_wait(rt, which.handle(), timeout.count()); });
  }
  /// Withdraws interest in a request, which still completes exactly once.
  result<void> cancel(ticket which) noexcept {
    return call([&](cubby_handle *rt) { return cubby_cancel(rt, which.handle()); });
  }
  /// How far a request is that is alive: its status, PENDING or final, and its items so far. No
  /// waiting. STALE: it is over, and was waited for or taken.
  result<cubby_done> progress(ticket which) const noexcept {
    cubby_done seen{};
    return call<cubby_done>(
        [&](cubby_handle *rt) { return cubby_progress(rt, which.handle(), &seen); },
        [&] { return seen; });
  }
  /// Blocks until nothing is in flight, or TIMEOUT.
  result<void> drain(std::chrono::nanoseconds timeout = forever) noexcept {
    return call([&](cubby_handle *rt) { return cubby_drain(rt, timeout.count()); });
  }

  /// Counters of the runtime and, at most tiers.size(), of its tiers; tier_count says how many
  /// there are.
  result<cubby_stats_block> stats(std::span<cubby_tier_stats> tiers = {}) const noexcept {
    auto block = detail::sized<cubby_stats_block>();
    for (cubby_tier_stats &of_tier : tiers) of_tier = detail::sized<cubby_tier_stats>();
    return call<cubby_stats_block>(
        [&](cubby_handle *rt) {
          return cubby_stats(rt, &block, tiers.empty() ? nullptr : tiers.data(),
                             static_cast<uint32_t>(tiers.size()));
        },
        [&] { return block; });
  }
  /// The counters as text for Prometheus; docs/metrics.md lists the names.
  result<std::string> metrics() const {
    std::string text;
    for (size_t needed_bytes = 0;;) {
      const result<void> asked = call([&](cubby_handle *rt) {
        return cubby_metrics(rt, text.data(), text.size(), &needed_bytes);
      });
      if (asked) return text.resize(needed_bytes - 1), text;
      if (needed_bytes <= text.size()) return asked.why();
      text.resize(needed_bytes + 1024);  // it may grow until the next call
    }
  }
  /// Shows them to `cubby top`, renewed every `interval_ms`; 0 ends it.
  result<void> publish(uint32_t interval_ms) noexcept {
    return call([&](cubby_handle *rt) { return cubby_publish(rt, interval_ms); });
  }
  /// Takes lines of the log, at most out.size(); returns how many were written. Never blocks.
  [[nodiscard]] uint32_t take_log(std::span<cubby_log_line> out) noexcept {
    cubby_handle *rt = core_.get();
    return rt == nullptr ? 0 : cubby_log_take(rt, out.data(), static_cast<uint32_t>(out.size()));
  }

 private:
  explicit runtime(detail::core_ref core) noexcept : core_(std::move(core)) {}

  template <class Call>
  result<void> call(const Call &body) const noexcept {
    cubby_handle *rt = core_.get();
    if (rt == nullptr) return error(CUBBY_ERR_SHUTDOWN);
    return detail::done_or_error(body(rt));
  }
  template <class T, class Call, class Value>
  result<T> call(const Call &body, const Value &value) const noexcept {
    cubby_handle *rt = core_.get();
    if (rt == nullptr) return error(CUBBY_ERR_SHUTDOWN);
    const cubby_status status = body(rt);
    if (status != CUBBY_OK) return error::last(status);
    return value();
  }
  template <class Call>
  result<ticket> ticket_call(const Call &body) noexcept {
    cubby_handle *rt = core_.get();
    if (rt == nullptr) return error(CUBBY_ERR_SHUTDOWN);
    cubby_ticket accepted = 0;
    const cubby_status status = body(rt, &accepted);
    return detail::ticket_or_error(status, accepted);
  }
  template <class Call>
  result<bank> bank_call(const Call &body, const cubby_bank &added) noexcept {
    cubby_handle *rt = core_.get();
    if (rt == nullptr) return error(CUBBY_ERR_SHUTDOWN);
    if (const cubby_status status = body(rt); status != CUBBY_OK) return error::last(status);
    auto info = detail::sized<cubby_bank_desc>();
    const cubby_status status = cubby_bank_info(rt, added, &info);
    if (status != CUBBY_OK) return error::last(status);
    return bank(added, info);
  }

  detail::core_ref core_;
};

}  // namespace v1
}  // namespace cubby
#endif
