#include "queue.hpp"

#include <nanobind/stl/shared_ptr.h>

#include <array>
#include <optional>
#include <utility>

#include "request.hpp"

namespace pycubby {

namespace {

struct completion {
  cubby_done done;
  std::optional<failure> why;
};

int descriptor(const queue &q) {
  q.of->check_open();
  return cubby_cq_fd(q.of->cq);
}

nb::list take(queue &q, uint32_t max_count) {
  q.of->check_open();
  nb::list out;
  // The end of a request may run code of others, and they may close the queue.
  for (uint32_t n = 0; n < max_count && !q.of->door.closed(); ++n) {
    cubby_done done{};
    if (cubby_cq_take(q.of->cq, &done, 1) == 0) break;
    const auto status = static_cast<cubby_status>(done.status);
    std::optional<failure> why;
    if (status < 0 || status == CUBBY_PARTIAL) why = last_failure(status);
    q.owner->complete(done.ticket, status, why);
    out.append(completion{done, std::move(why)});
  }
  return out;
}

bool wait(queue &q, nb::handle timeout) {
  completions &of = *q.of;
  const cubby_status status = wait_in_slices(timeout_of(timeout), [&](int64_t slice_ns) {
    if (const cubby_status s = of.door.enter(); s != CUBBY_OK) {
      raise_refused(s, "the completion queue");
    }
    cubby_status answer = CUBBY_OK;
    {
      const nb::gil_scoped_release others_run;
      answer = cubby_cq_wait(of.cq, slice_ns);
    }
    of.door.leave();
    return answer;
  });
  if (status == CUBBY_ERR_TIMEOUT) return false;
  check(status);
  return true;
}

void close(queue &q) {
  completions &of = *q.of;
  if (of.door.forked()) raise_refused(CUBBY_ERR_FORKED, "the completion queue");
  if (!of.door.shut()) return;
  {
    const nb::gil_scoped_release others_run;
    of.door.settle();
  }
  const cubby_status status = cubby_cq_remove(of.cq);
  if (status == CUBBY_ERR_BUSY) of.door.reopen();
  check(status);
}

void bind_completion(nb::module_ &m) {
  nb::class_<completion>(m, "Completion", "One completed request.")
      .def_prop_ro(
          "user", [](const completion &c) { return c.done.user; },
          "The number that was given with the request.")
      .def_prop_ro(
          "ticket", [](const completion &c) { return c.done.ticket; },
          "Ticket.handle of the request.")
      .def_prop_ro(
          "status", [](const completion &c) { return static_cast<int>(c.done.status); },
          "OK, PARTIAL, MISS or an error: a status of cubby.Status as an int.")
      .def_prop_ro(
          "ok_count", [](const completion &c) { return c.done.ok_count; }, "Items that are OK.")
      .def_prop_ro(
          "item_count", [](const completion &c) { return c.done.item_count; }, "Of how many items.")
      .def_prop_ro(
          "bytes", [](const completion &c) { return c.done.bytes; }, "Bytes moved for it.")
      .def_prop_ro(
          "issued_ns", [](const completion &c) { return c.done.issued_ns; },
          "When it was accepted, in ns of CLOCK_MONOTONIC.")
      .def_prop_ro(
          "done_ns", [](const completion &c) { return c.done.done_ns; },
          "When it was over, in ns of CLOCK_MONOTONIC.")
      .def_prop_ro(
          "error",
          [](const completion &c) { return c.why ? c.why->exception() : nb::object(nb::none()); },
          "The exception, not raised, of one that failed; else None.");
}

}  // namespace

completions::~completions() {
  if (door.forked() || !door.shut()) return;
  // The library holds on to one with completions that were not taken.
  std::array<cubby_done, 64> unread;
  while (cubby_cq_take(cq, unread.data(), unread.size()) != 0) {
  }
  cubby_cq_remove(cq);
}

void bind_queues(nb::module_ &m) {
  bind_completion(m);
  nb::class_<queue>(m, "CompletionQueue",
                    "Completions of requests that named this queue. It holds a bounded number; a "
                    "request that finds no place is BusyError, so that none is ever lost. May "
                    "outlive its runtime.")
      .def("fileno", &descriptor,
           "A descriptor that is readable exactly while the queue is not empty; for select, poll "
           "and asyncio. It is the queue's: never read from it and never close it.")
      .def("take", &take, nb::arg("max_count") = 64,
           "Takes completions, at most max_count; an empty list when there are none. Does not "
           "block.")
      .def("wait", &wait, nb::arg("timeout").none() = nb::none(),
           "Blocks, without the interpreter's lock, until there is something to take: True; or "
           "until `timeout` seconds have passed (None: never do): False.")
      .def("close", &close, "Ends the queue. BusyError while a request names it.")
      .def("__enter__", [](nb::object self) { return self; })
      .def("__exit__", [](queue &q, const nb::args &) { close(q); });
}

}  // namespace pycubby
