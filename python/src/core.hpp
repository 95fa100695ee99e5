// One runtime and what has to live as long as it, or as long as a request of it.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <unordered_map>

#include <cubby/cubby.h>

#include "errors.hpp"
#include "gate.hpp"
#include "memory.hpp"

namespace pycubby {

struct request;
class completions;

class core {
 public:
  explicit core(cubby *opened) : rt(opened) {}
  core(const core &) = delete;
  core &operator=(const core &) = delete;
  ~core();

  // Calls `body(rt)` with the interpreter's lock held: for calls that take microseconds at most.
  template <class Body>
  auto quick(const Body &body) {
    const inside now(*this);
    return body(rt);
  }
  // Calls `body(rt)` with the interpreter's lock released.
  template <class Body>
  auto call(const Body &body) {
    const inside now(*this);
    const nb::gil_scoped_release others_run;
    return body(rt);
  }

  // Ends the runtime. BufferError while views of pinned memory are in use.
  void close();

  // Holds `what` until its ticket is complete.
  void add_pending(const std::shared_ptr<request> &what);
  // Its ticket was waited for.
  void end_pending(cubby_ticket ticket) { pending_.erase(ticket); }
  // A queue reported the end of a ticket, perhaps before the thread that made it could add it.
  void complete(cubby_ticket ticket, cubby_status status, std::optional<failure> why);
  // Nobody waits for it any more; its memory is held until it is over.
  void forget(cubby_ticket ticket) { orphans_.push_back(ticket); }
  // Nobody takes from this queue any more.
  void forget_all_of(const completions &queue);
  // Gives back the memory of some of the forgotten that are over.
  void look_after_orphans(size_t most = 16);
  // Gives back the memory of all that are over.
  void look_after_all();

  // A call that makes a ticket, until the ticket is added.
  class submission {
   public:
    explicit submission(core &of) : of_(of) { ++of_.submitting_; }
    ~submission() {
      if (--of_.submitting_ == 0) of_.early_.clear();
    }
    submission(const submission &) = delete;
    submission &operator=(const submission &) = delete;

   private:
    core &of_;
  };

  cubby *const rt;
  gate door;
  uint32_t exports = 0;  // buffers of pinned frames in the hands of Python
  std::unordered_map<cubby_region, std::unique_ptr<memory_list>> regions;

 private:
  class inside {
   public:
    explicit inside(core &of) : door_(of.door) {
      if (const cubby_status s = door_.enter(); s != CUBBY_OK) raise_refused(s, "the runtime");
    }
    ~inside() { door_.leave(); }
    inside(const inside &) = delete;
    inside &operator=(const inside &) = delete;

   private:
    gate &door_;
  };

  void let_go();

  std::unordered_map<cubby_ticket, std::shared_ptr<request>> pending_;
  struct ending {
    cubby_status status;
    std::optional<failure> why;
  };
  uint32_t submitting_ = 0;
  std::unordered_map<cubby_ticket, ending> early_;  // completed before they were added
  std::deque<cubby_ticket> orphans_;
};

// Repeats `once(slice_ns)` of a call that blocks, without the interpreter's lock, until it answers
// something else than TIMEOUT or timeout_ns has passed (< 0: never does). Between the slices
// signals are handled, and close() comes in. `once` has to go through core::call().
template <class Once>
cubby_status wait_in_slices(int64_t timeout_ns, const Once &once) {
  using clock = std::chrono::steady_clock;
  constexpr int64_t slice_ns = 50'000'000;
  const auto began = clock::now();
  for (;;) {
    int64_t left = slice_ns;
    if (timeout_ns >= 0) {
      const auto gone =
          std::chrono::duration_cast<std::chrono::nanoseconds>(clock::now() - began).count();
      left = timeout_ns > gone ? timeout_ns - gone : 0;
    }
    const cubby_status status = once(left < slice_ns ? left : slice_ns);
    if (status != CUBBY_ERR_TIMEOUT) return status;
    if (PyErr_CheckSignals() != 0) throw nb::python_error();
    if (timeout_ns >= 0 && left <= slice_ns) return CUBBY_ERR_TIMEOUT;
  }
}

// Seconds as Python has them, or None, to nanoseconds; None = for ever.
int64_t timeout_of(nb::handle seconds);

// Closes every runtime that is open, at the interpreter's end.
void close_all() noexcept;
void add_live(const std::shared_ptr<core> &opened);

}  // namespace pycubby
