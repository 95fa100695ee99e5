#include "core.hpp"

#include <algorithm>
#include <cmath>
#include <utility>
#include <vector>

#include "request.hpp"

namespace pycubby {

namespace {

std::vector<std::weak_ptr<core>> &live() {
  static auto *all = new std::vector<std::weak_ptr<core>>;
  return *all;
}

}  // namespace

void add_live(const std::shared_ptr<core> &opened) {
  auto &all = live();
  std::erase_if(all, [](const auto &each) { return each.expired(); });
  all.push_back(opened);
}

void close_all() noexcept {
  for (const auto &each : live()) {
    const std::shared_ptr<core> open = each.lock();
    if (open == nullptr || open->door.forked()) continue;
    try {
      open->close();
    } catch (nb::python_error &e) {
      e.restore();
      PyErr_Clear();
    } catch (...) {
    }
  }
}

core::~core() {
  // In a child of fork the runtime is the parent's, and so are its threads and memory.
  if (door.forked()) return;
  if (door.shut()) {
    const nb::gil_scoped_release others_run;
    cubby_close(rt);
  }
  let_go();
}

void core::close() {
  if (door.forked()) raise_refused(CUBBY_ERR_FORKED, "the runtime");
  if (door.closed()) return;
  if (exports != 0) {
    PyErr_Format(PyExc_BufferError, "%u views of pinned memory are in use; delete them first",
                 exports);
    throw nb::python_error();
  }
  if (!door.shut()) return;
  cubby_status status = CUBBY_OK;
  {
    const nb::gil_scoped_release others_run;
    door.settle();
    status = cubby_close(rt);
  }
  // A device that gives nothing back may still write to memory that was lent: it stays where it is.
  if (status != CUBBY_ERR_DEVICE) let_go();
  check(status);
}

void core::let_go() {
  // Ends of memory may run code of its owners, which may come back here.
  const auto over = std::exchange(pending_, {});
  for (const auto &[ticket, each] : over) each->finish(CUBBY_ERR_CANCELED, {});
  const auto lent = std::exchange(regions, {});
}

void core::add_pending(const std::shared_ptr<request> &what) {
  if (const auto early = early_.find(what->ticket); early != early_.end()) {
    ending end = std::move(early->second);
    early_.erase(early);
    what->finish(end.status, std::move(end.why));
  } else {
    pending_.emplace(what->ticket, what);
  }
  look_after_orphans();
}

void core::complete(cubby_ticket ticket, cubby_status status, std::optional<failure> why) {
  const auto found = pending_.find(ticket);
  if (found == pending_.end()) {
    // Of a thread that is about to add it, or of one that was waited for before.
    if (submitting_ != 0) early_.insert_or_assign(ticket, ending{status, std::move(why)});
    return;
  }
  const auto over = std::move(found->second);
  pending_.erase(found);
  over->finish(status, std::move(why));
}

void core::forget_all_of(const completions &queue) {
  for (const auto &[ticket, each] : pending_) {
    if (each->to.get() == &queue) forget(ticket);
  }
}

void core::look_after_all() {
  orphans_.clear();
  for (const auto &[ticket, each] : pending_) forget(ticket);
  look_after_orphans(SIZE_MAX);
}

void core::look_after_orphans(size_t most) {
  std::vector<std::shared_ptr<request>> over;
  for (size_t left = std::min(most, orphans_.size()); left-- != 0;) {
    const cubby_ticket ticket = orphans_.front();
    orphans_.pop_front();
    const auto found = pending_.find(ticket);
    if (found == pending_.end()) continue;
    cubby_status status = CUBBY_ERR_TIMEOUT;
    if (found->second->waiters == 0 && door.enter() == CUBBY_OK) {
      status = cubby_wait(rt, ticket, 0);
      door.leave();
    }
    if (status == CUBBY_ERR_TIMEOUT) {
      orphans_.push_back(ticket);
      continue;
    }
    found->second->end_as(status);
    over.push_back(std::move(found->second));
    pending_.erase(found);
  }
  // What this gives back may run code of its owners, which may come back here.
  for (const auto &each : over) each->let_go();
}

int64_t timeout_of(nb::handle seconds) {
  if (seconds.is_none()) return -1;
  const double value = PyFloat_AsDouble(seconds.ptr());
  if (PyErr_Occurred() != nullptr) throw nb::python_error();
  if (std::isnan(value) || value < 0)
    throw nb::value_error("a timeout is None or 0 or more seconds");
  return value > 9e9 ? -1 : static_cast<int64_t>(value * 1e9);
}

}  // namespace pycubby
