// CompletionQueue: completions as they come, with a descriptor to sleep on.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <memory>

#include <cubby/cubby.h>

#include "core.hpp"

namespace pycubby {

// Stands until no request names it and Python has let it go; may outlive the runtime.
class queue {
 public:
  queue(std::shared_ptr<core> of, cubby_cq *made) : owner(std::move(of)), cq(made) {}
  queue(const queue &) = delete;
  queue &operator=(const queue &) = delete;
  ~queue() {
    if (!door.forked() && door.shut()) cubby_cq_remove(cq);
  }

  void check_open() const {
    if (door.forked()) raise_refused(CUBBY_ERR_FORKED, "the completion queue");
    if (door.closed()) raise_refused(CUBBY_ERR_SHUTDOWN, "the completion queue");
  }

  const std::shared_ptr<core> owner;
  cubby_cq *const cq;
  gate door;
};

void bind_queues(nb::module_ &m);

}  // namespace pycubby
