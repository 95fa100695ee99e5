// CompletionQueue: completions as they come, with a descriptor to sleep on.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>

#include <cubby/cubby.h>

#include "core.hpp"

namespace pycubby {

// The queue of the library. Stands until no request names it and Python has let it go; may outlive
// the runtime.
class completions {
 public:
  explicit completions(cubby_cq *made) : cq(made) {}
  completions(const completions &) = delete;
  completions &operator=(const completions &) = delete;
  ~completions();

  void check_open() const {
    if (door.forked()) raise_refused(CUBBY_ERR_FORKED, "the completion queue");
    if (door.closed()) raise_refused(CUBBY_ERR_SHUTDOWN, "the completion queue");
  }

  cubby_cq *const cq;
  gate door;
  bool dropped = false;  // nobody takes from it any more
};

// Python's handle of it. Requests do not hold this one, for it holds the runtime that holds them.
class queue {
 public:
  queue(std::shared_ptr<core> owner, cubby_cq *made)
      : owner(std::move(owner)), of(std::make_shared<completions>(made)) {}
  queue(const queue &) = delete;
  queue &operator=(const queue &) = delete;
  ~queue() {
    of->dropped = true;
    owner->forget_all_of(*of);
    owner->look_after_orphans();
  }

  const std::shared_ptr<core> owner;
  const std::shared_ptr<completions> of;
};

// Where the completion of a request goes: a CompletionQueue, or None for whoever waits.
inline std::shared_ptr<completions> completions_of(const queue *named) {
  return named == nullptr ? nullptr : named->of;
}

void bind_queues(nb::module_ &m);

}  // namespace pycubby
