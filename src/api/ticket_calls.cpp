// Completion queues, waiting, cancelling.
#include <sys/eventfd.h>

#include <cerrno>

#include "api/completion_queue.hpp"
#include "api/guard.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

cubby_status no_queue() {
  return keep_error(fail(CUBBY_ERR_STALE, "there is no such completion queue: it was removed"));
}

cubby_status closed() {
  return keep_error(fail(CUBBY_ERR_SHUTDOWN, "the queue is empty and its runtime was closed"));
}

}  // namespace

cubby_status cubby_cq_add(cubby_handle *rt, uint32_t capacity, cubby_cq **out) {
  CUBBY_ENTER(rt);
  if (out == nullptr || capacity == 0 || capacity > 1u << 20) {
    CUBBY_REFUSE("cubby_cq_add: out is NULL, or capacity %u is not 1 to 1048576", capacity);
  }
  return guarded([&]() -> cubby_status {
    const int fd = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (fd < 0) {
      return keep_error(fail_errno(errno,
                                   "a descriptor for the queue could not be had; raise "
                                   "ulimit -n"));
    }
    auto made = std::make_unique<cubby_cq>(self, capacity, fd);
    cubby_cq *const queue = made.get();
    cubby_cq::enlist(std::move(made));
    *out = queue;
    return CUBBY_OK;
  });
}

int cubby_cq_fd(cubby_cq *cq) { return cubby_cq::is_living(cq) ? cq->descriptor() : -1; }

uint32_t cubby_cq_take(cubby_cq *cq, cubby_done *out, uint32_t max_count) {
  if (out == nullptr || !cubby_cq::is_living(cq)) return 0;
  uint32_t taken = 0;
  guarded([&]() -> cubby_status {
    taken = cq->take(out, max_count);
    return CUBBY_OK;
  });
  return taken;
}

cubby_status cubby_cq_wait(cubby_cq *cq, int64_t timeout_ns) {
  if (cq == nullptr) CUBBY_REFUSE("cubby_cq_wait: the queue is NULL");
  if (!cubby_cq::is_living(cq)) return no_queue();
  const std::unique_ptr<runtime, void (*)(runtime *)> owner(cq->hold_owner(), &cubby_cq::let_go);
  if (owner == nullptr) return cq->empty() ? closed() : CUBBY_OK;
  runtime &self = *owner;
  CUBBY_BEGIN(self, waiting);
  return guarded([&]() -> cubby_status {
    if (self.wait_until([&] { return !cq->empty() || self.shutting(); }, timeout_ns)) {
      const bool ended = self.shutting() && cq->empty();
      return ended ? call::refuse(CUBBY_ERR_SHUTDOWN) : CUBBY_OK;
    }
    return keep_error(fail(CUBBY_ERR_TIMEOUT, "nothing was completed to this queue in time"));
  });
}

cubby_status cubby_cq_remove(cubby_cq *cq) {
  if (cq == nullptr) CUBBY_REFUSE("cubby_cq_remove: the queue is NULL");
  if (!cubby_cq::is_living(cq)) return no_queue();
  if (!cq->unused()) {
    return keep_error(fail(CUBBY_ERR_BUSY,
                           "tickets name the queue, or completions were not taken "
                           "from it yet"));
  }
  cubby_cq::remove(cq);
  return CUBBY_OK;
}

cubby_status cubby_wait(cubby_handle *rt, cubby_ticket ticket, int64_t timeout_ns) {
  CUBBY_ENTER_WAITING(rt);
  return guarded([&]() -> cubby_status {
    if (!self.ticket_done(ticket)) {
      self.wait_until([&] { return self.ticket_done(ticket) || self.shutting(); }, timeout_ns);
    }
    const cubby_status status = self.claim(ticket);
    if (status != CUBBY_PENDING) return status;
    if (self.shutting()) return call::refuse(CUBBY_ERR_SHUTDOWN);
    return keep_error(fail(CUBBY_ERR_TIMEOUT, "the request was not done in time; it goes on"));
  });
}

cubby_status cubby_cancel(cubby_handle *rt, cubby_ticket ticket) {
  CUBBY_ENTER(rt);
  return guarded([&]() -> cubby_status {
    if (!self.cancel(ticket)) {
      return keep_error(fail(CUBBY_ERR_STALE, "the ticket is not alive"));
    }
    self.kick();
    return CUBBY_OK;
  });
}

cubby_status cubby_drain(cubby_handle *rt, int64_t timeout_ns) {
  CUBBY_ENTER_WAITING(rt);
  return guarded([&]() -> cubby_status {
    // In this order: a request that has just left the inbox makes the runtime busy before that.
    const auto drained = [&] {
      return (!self.engine().pump.has_news() && self.idle()) || self.shutting();
    };
    self.kick();
    if (self.wait_until(drained, timeout_ns)) {
      return self.shutting() ? call::refuse(CUBBY_ERR_SHUTDOWN) : CUBBY_OK;
    }
    return keep_error(fail(CUBBY_ERR_TIMEOUT, "something is still in flight"));
  });
}

cubby_status cubby_progress(cubby_handle *rt, cubby_ticket ticket, cubby_done *out) {
  CUBBY_ENTER(rt);
  if (out == nullptr) CUBBY_REFUSE("cubby_progress: out is NULL");
  if (self.progress(ticket, *out)) return CUBBY_OK;
  return keep_error(fail(CUBBY_ERR_STALE, "the ticket is not alive"));
}
