#include "request.hpp"

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "queue.hpp"

namespace pycubby {

namespace {

nb::list statuses_of(const request &what) {
  nb::list out;
  for (const int8_t &each : what.item_status) {
    out.append(static_cast<int>(__atomic_load_n(&each, __ATOMIC_ACQUIRE)));
  }
  return out;
}

bool done(const std::shared_ptr<request> &what) {
  if (what->is_final()) return true;
  if (what->to == nullptr) return wait_for(what, 0) != CUBBY_ERR_TIMEOUT;
  cubby_done seen{};
  const cubby_status status =
      what->owner->quick([&](cubby *rt) { return cubby_progress(rt, what->ticket, &seen); });
  return status == CUBBY_ERR_STALE || (status == CUBBY_OK && seen.status != CUBBY_PENDING);
}

// True: OK. False: not within the timeout. Everything else is an exception.
bool wait_ticket(const ticket &of, nb::handle timeout) {
  const cubby_status status = wait_for(of.shared(), timeout_of(timeout));
  if (status == CUBBY_OK) return true;
  if (status == CUBBY_ERR_TIMEOUT && !of.get().is_final()) return false;
  raise(error_of(of.get()));
}

std::optional<failure> reason_of(cubby_status status) {
  if (status == CUBBY_OK || status == CUBBY_MISS) return std::nullopt;
  return last_failure(status);
}

// One more, as long as this stands.
class counted {
 public:
  explicit counted(uint32_t &what) : what_(what) { ++what_; }
  ~counted() { --what_; }
  counted(const counted &) = delete;
  counted &operator=(const counted &) = delete;

 private:
  uint32_t &what_;
};

void cancel(const ticket &of) {
  request &what = of.get();
  if (what.is_final()) return;
  const cubby_status status =
      what.owner->quick([&](cubby *rt) { return cubby_cancel(rt, what.ticket); });
  if (status != CUBBY_ERR_STALE) check(status);
}

}  // namespace

uint8_t index_of(nb::handle name, std::initializer_list<std::string_view> names, const char *what) {
  Py_ssize_t size = 0;
  const char *text = PyUnicode_AsUTF8AndSize(name.ptr(), &size);
  if (text == nullptr) throw nb::python_error();
  const std::string_view asked(text, static_cast<size_t>(size));
  const auto *found = std::find(names.begin(), names.end(), asked);
  if (found == names.end()) throw nb::value_error(what);
  return static_cast<uint8_t>(found - names.begin());
}

uint8_t keep_of(nb::handle name) {
  return index_of(name, {"session", "cache", "restart", "durable"},
                  "keep is 'session', 'cache', 'restart' or 'durable'");
}

uint32_t hint_kind_of(nb::handle name) {
  return CUBBY_HINT_CLOSED + index_of(name, {"closed", "scheduled", "priority"},
                                      "kind is 'closed', 'scheduled' or 'priority'");
}

uint8_t io_class_of(nb::handle name) {
  return index_of(name, {"demand", "committed", "forecast", "write_back"},
                  "io_class is 'demand', 'committed', 'forecast' or 'write_back'");
}

void request::finish(cubby_status result, std::optional<failure> reason) {
  status = result;
  why = std::move(reason);
  let_go();
}

void request::end_as(cubby_status result) {
  status = result;
  why = reason_of(result);
}

void request::let_go() {
  memory.release();
  to.reset();
}

cubby_how how_of(request &what, const options &with, uint32_t count) {
  what.item_status.assign(count, CUBBY_PENDING);
  cubby_how how{};
  how.struct_size = sizeof how;
  how.flags = with.flags;
  how.io_class = with.io_class;
  how.keep = with.keep;
  how.priority = with.priority;
  how.ttl_ms = with.ttl_ms;
  how.deadline_ns = with.deadline_ns;
  how.user = with.user;
  how.item_status = what.item_status.data();
  how.sync = with.sync ? &*with.sync : nullptr;  // `with` stands until the call has returned
  if (with.to != nullptr) {
    with.to->check_open();
    how.cq = with.to->cq;
  }
  return how;
}

void handed_over(const std::shared_ptr<request> &what, cubby_status status) {
  if (status == CUBBY_PENDING && what->ticket != 0) {
    what->owner->add_pending(what);
    return;
  }
  what->finish(status, reason_of(status));
  what->owner->look_after_orphans();
}

cubby_status wait_for(const std::shared_ptr<request> &what, int64_t timeout_ns) {
  if (what->is_final()) return what->status;
  core &owner = *what->owner;
  const counted waiting(what->waiters);
  const cubby_status status = wait_in_slices(timeout_ns, [&](int64_t slice_ns) {
    return owner.call([&](cubby *rt) { return cubby_wait(rt, what->ticket, slice_ns); });
  });
  if (status == CUBBY_ERR_TIMEOUT) return status;
  const std::optional<failure> reason = reason_of(status);
  // The library says the end of a ticket once. Whoever was given it is about to note it here.
  for (int n = 0; n < 20'000 && status == CUBBY_ERR_STALE && !what->is_final(); ++n) {
    if (what->waiters == 1) break;
    const nb::gil_scoped_release others_run;
    std::this_thread::sleep_for(std::chrono::microseconds(50));
  }
  if (what->is_final()) return what->status;  // another thread was first
  owner.end_pending(what->ticket);
  what->finish(status, reason);
  return status;
}

void wait_out(const std::shared_ptr<request> &what) {
  try {
    wait_for(what, -1);
  } catch (nb::python_error &interrupt) {
    if (!what->owner->door.closed() && !what->is_final()) {
      const cubby_status status = what->owner->call([&](cubby *rt) {
        cubby_cancel(rt, what->ticket);
        return cubby_wait(rt, what->ticket, -1);
      });
      if (!what->is_final()) {
        what->owner->end_pending(what->ticket);
        what->finish(status, {});
      }
    }
    throw;
  }
}

nb::object error_of(const request &what) {
  return what.why ? what.why->exception() : plain_error(what.status, "");
}

void raise_items(const request &what) {
  nb::object error = error_of(what);
  nb::list each;
  for (const int8_t status : what.item_status) each.append(static_cast<int>(status));
  error.attr("item_status") = each;
  raise(error);
}

std::vector<int> wait_verified(const std::shared_ptr<request> &what) {
  wait_out(what);
  const auto &each = what->item_status;
  const bool looked_at = std::all_of(each.begin(), each.end(), [](int8_t status) {
    return status == CUBBY_OK || status == CUBBY_MISS || status == CUBBY_ERR_CORRUPT;
  });
  if (!looked_at) raise_items(*what);
  return {each.begin(), each.end()};
}

ticket::~ticket() {
  if (what_->is_final() || owner_->door.closed()) return;
  if (what_->to == nullptr || what_->to->dropped) owner_->forget(what_->ticket);
}

nb::object ticket_of(const std::shared_ptr<core> &owner, std::shared_ptr<request> what) {
  return nb::cast(new ticket(owner, std::move(what)), nb::rv_policy::take_ownership);
}

void bind_requests(nb::module_ &m) {
  nb::class_<ticket>(m, "Ticket",
                     "An accepted request, which completes exactly once. Memory that was handed in "
                     "is held until then, also when the ticket is dropped.")
      .def("wait", &wait_ticket, nb::arg("timeout").none() = nb::none(),
           "Blocks, without the interpreter's lock, until the request is complete: True; or until "
           "`timeout` seconds have passed (None: never do): False. Raises the request's error.")
      .def("cancel", &cancel, "Withdraws interest in the request, which still completes once.")
      .def_prop_ro(
          "done", [](const ticket &t) { return done(t.shared()); },
          "Whether the request is complete. Does not block.")
      .def_prop_ro(
          "status", [](const ticket &t) { return static_cast<int>(t.get().status); },
          "A status of cubby.Status as an int; PENDING until wait() or a queue reported the end.")
      .def_prop_ro(
          "item_status", [](const ticket &t) { return statuses_of(t.get()); },
          "One status an item, as a list of int; each is final once it is not PENDING.")
      .def_prop_ro(
          "handle", [](const ticket &t) { return t.get().ticket; },
          "The number of the ticket, as completions name it; 0 = it was complete at once.");
}

}  // namespace pycubby
