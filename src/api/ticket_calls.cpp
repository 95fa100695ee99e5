// Completion queues, waiting, cancelling.
#include "api/completion_queue.hpp"
#include "api/guard.hpp"
#include "api/runtime.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

cubby_status no_queue() {
  return keep_error(fail(CUBBY_ERR_STALE, "there is no such completion queue: it was removed"));
}

/// The queue, which stays while this is held. Without one `status` is set: STALE, or FORKED where
/// the queue is the parent's.
std::shared_ptr<cubby_cq> hold(const cubby_cq *cq, cubby_status &status) {
  auto held = cubby_cq::find(cq);
  if (held == nullptr) {
    status = no_queue();
  } else if (held->forked()) {
    status = call::refuse(CUBBY_ERR_FORKED);
    held.reset();
  }
  return held;
}

void let_go(runtime *held) { cubby_cq::let_go(held); }

/// The queue's runtime, which stays while this is held; nullptr once it has been closed.
std::unique_ptr<runtime, void (*)(runtime *)> hold_runtime(cubby_cq &cq) {
  return {static_cast<runtime *>(cq.hold_owner()), let_go};
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
    auto made = std::make_shared<cubby_cq>(self, capacity);
    if (auto ready = made->open(); !ready) return keep_error(ready.failure());
    cubby_cq::enlist(made);
    *out = made.get();
    return CUBBY_OK;
  });
}

int cubby_cq_fd(cubby_cq *cq) {
  cubby_status status = CUBBY_OK;
  const auto held = hold(cq, status);
  return held != nullptr ? held->descriptor() : -1;
}

uint32_t cubby_cq_take(cubby_cq *cq, cubby_done *out, uint32_t max_count) {
  if (out == nullptr) return 0;
  cubby_status status = CUBBY_OK;
  const auto held = hold(cq, status);
  if (held == nullptr) return 0;
  uint32_t taken = 0;
  guarded([&]() -> cubby_status {
    taken = held->take(out, max_count);
    return CUBBY_OK;
  });
  return taken;
}

cubby_status cubby_cq_wait(cubby_cq *cq, int64_t timeout_ns) {
  if (cq == nullptr) CUBBY_REFUSE("cubby_cq_wait: the queue is NULL");
  cubby_status status = CUBBY_OK;
  const auto held = hold(cq, status);
  if (held == nullptr) return status;
  const auto owner = hold_runtime(*cq);
  if (owner == nullptr) return cq->empty() ? closed() : CUBBY_OK;
  runtime &self = *owner;
  CUBBY_BEGIN(self, waiting);
  return guarded([&]() -> cubby_status {
    const auto over = [&] { return !cq->empty() || self.shutting() || cq->removed(); };
    if (self.wait_until(over, timeout_ns)) {
      if (cq->removed()) return no_queue();
      const bool ended = self.shutting() && cq->empty();
      return ended ? call::refuse(CUBBY_ERR_SHUTDOWN) : CUBBY_OK;
    }
    return keep_error(fail(CUBBY_ERR_TIMEOUT, "nothing was completed to this queue in time"));
  });
}

cubby_status cubby_cq_remove(cubby_cq *cq) {
  if (cq == nullptr) CUBBY_REFUSE("cubby_cq_remove: the queue is NULL");
  cubby_status status = CUBBY_OK;
  const auto held = hold(cq, status);
  if (held == nullptr) return status;
  const auto owner = hold_runtime(*cq);
  if (!cq->retire()) {
    if (cq->removed()) return no_queue();  // by another thread, just now
    return keep_error(fail(CUBBY_ERR_BUSY,
                           "tickets name the queue, or completions were not taken "
                           "from it yet"));
  }
  cubby_cq::remove(cq);
  if (owner == nullptr) return CUBBY_OK;
  // Its waiters are notified; calls that have looked it up are over before it goes.
  owner->wake_waiters();
  owner->grace_period();
  return CUBBY_OK;
}

cubby_status cubby_wait(cubby_handle *rt, cubby_ticket ticket, int64_t timeout_ns) {
  CUBBY_ENTER_WAITING(rt);
  return guarded([&]() -> cubby_status {
    if (!self.requests().done(ticket)) {
      self.wait_until([&] { return self.requests().done(ticket) || self.shutting(); }, timeout_ns);
    }
    const cubby_status status = self.requests().claim(ticket);
    if (status != CUBBY_PENDING) return status;
    if (self.shutting()) return call::refuse(CUBBY_ERR_SHUTDOWN);
    return keep_error(fail(CUBBY_ERR_TIMEOUT, "the request was not done in time; it goes on"));
  });
}

cubby_status cubby_cancel(cubby_handle *rt, cubby_ticket ticket) {
  CUBBY_ENTER(rt);
  return guarded([&]() -> cubby_status {
    if (!self.requests().cancel(ticket)) {
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
  const auto lock = self.hold_pump();
  if (self.requests().progress(ticket, *out)) return CUBBY_OK;
  return keep_error(fail(CUBBY_ERR_STALE, "the ticket is not alive"));
}
