// A request that was handed over, and Ticket, which Python waits with.
#pragma once

#include <nanobind/nanobind.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <cubby/cubby.h>

#include "core.hpp"
#include "keys.hpp"
#include "memory.hpp"

namespace pycubby {

class completions;

// What the library may write to until the request is complete.
struct request {
  core *owner = nullptr;  // which may hold this one: whoever else does, holds the runtime as well
  std::shared_ptr<completions> to;  // where the completion goes; null = whoever waits
  cubby_ticket ticket = 0;
  cubby_status status = CUBBY_PENDING;  // of the request; final when it is not PENDING
  std::vector<int8_t> item_status;
  std::vector<const void *> addresses;  // of pins
  memory_list memory;
  std::optional<failure> why;  // of a failed one, where it is known
  uint32_t waiters = 0;        // threads in wait_for()

  bool is_final() const noexcept { return status != CUBBY_PENDING; }
  // With the interpreter's lock.
  void finish(cubby_status result, std::optional<failure> reason);
  // The two halves of it: what it ended as, by this thread's last error; and its memory, which may
  // run code of others.
  void end_as(cubby_status result);
  void let_go();
};

// How a request is served, as keyword arguments give it.
struct options {
  uint32_t flags = 0, ttl_ms = 0;
  uint8_t io_class = CUBBY_DEMAND, keep = CUBBY_KEEP_SESSION, priority = 0;
  uint64_t deadline_ns = 0, user = 0;
  std::shared_ptr<completions> to;
  std::optional<cubby_sync> sync;  // order with a device's stream
};

// Which of `names` it is; else ValueError(`what`).
uint8_t index_of(nb::handle name, std::initializer_list<std::string_view> names, const char *what);
uint8_t keep_of(nb::handle name);
uint8_t io_class_of(nb::handle name);
uint32_t hint_kind_of(nb::handle name);  // the same numbers in cubby.h and policy.h

// Calls `body(rt, how, ticket)` for `what` and finishes it, or has it wait for its completion.
template <class Body>
void submit(const std::shared_ptr<request> &what, const options &with, uint32_t count,
            const Body &body);
cubby_how how_of(request &what, const options &with, uint32_t count);
void handed_over(const std::shared_ptr<request> &what, cubby_status status);

template <class Body>
void submit(const std::shared_ptr<request> &what, const options &with, uint32_t count,
            const Body &body) {
  what->to = with.to;
  const cubby_how how = how_of(*what, with, count);
  const core::submission under_way(*what->owner);
  cubby_ticket ticket = 0;
  const cubby_status status = what->owner->call([&](cubby *rt) { return body(rt, &how, &ticket); });
  what->ticket = ticket;
  handed_over(what, status);
}

// Waits; the request's status, or TIMEOUT. An interrupt leaves it as it is.
cubby_status wait_for(const std::shared_ptr<request> &what, int64_t timeout_ns);
// Waits to the end. An interrupt withdraws the request and is raised once it is over: nobody writes
// to its memory afterwards.
void wait_out(const std::shared_ptr<request> &what);
// The exception of a failed request; raised with the statuses of its items.
nb::object error_of(const request &what);
[[noreturn]] void raise_items(const request &what);
// Waits for a verification: the status of each item, OK, MISS or CORRUPT. Any other is an
// exception.
std::vector<int> wait_verified(const std::shared_ptr<request> &what);

// An accepted request, as Python sees it.
class ticket {
 public:
  ticket(std::shared_ptr<core> owner, std::shared_ptr<request> what)
      : owner_(std::move(owner)), what_(std::move(what)) {}
  ticket(const ticket &) = delete;
  ticket &operator=(const ticket &) = delete;
  ~ticket();

  request &get() const noexcept { return *what_; }
  const std::shared_ptr<request> &shared() const noexcept { return what_; }

 private:
  const std::shared_ptr<core> owner_;
  const std::shared_ptr<request> what_;
};

nb::object ticket_of(const std::shared_ptr<core> &owner, std::shared_ptr<request> what);

void bind_requests(nb::module_ &m);

}  // namespace pycubby
