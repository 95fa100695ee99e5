#include "api/tickets.hpp"

#include "api/last_error.hpp"

namespace cubby::api {

cubby_ticket tickets::of(uint32_t index) const {
  const uint64_t life = requests_[index].life.load(std::memory_order_acquire);
  return uint64_t{engine::generation_of(life)} << 32 | (index + 1);
}

uint32_t tickets::find(cubby_ticket ticket) const {
  const uint32_t index = static_cast<uint32_t>(ticket) - 1;
  if (index >= requests_.size()) return engine::no_index;
  const uint64_t life = requests_[index].life.load(std::memory_order_acquire);
  if (engine::generation_of(life) != static_cast<uint32_t>(ticket >> 32) ||
      engine::state_of(life) == engine::request_state::unused) {
    return engine::no_index;
  }
  return index;
}

bool tickets::is_done(uint32_t index) const {
  return engine::state_of(requests_[index].life.load(std::memory_order_acquire)) ==
         engine::request_state::done;
}

bool tickets::done(cubby_ticket ticket) const {
  const uint32_t index = find(ticket);
  return index == engine::no_index || is_done(index);
}

cubby_status tickets::claim(cubby_ticket ticket) {
  const std::lock_guard lock(mutex_);
  const uint32_t index = find(ticket);
  if (index == engine::no_index) {
    return keep_error(fail(CUBBY_ERR_STALE,
                           "the ticket is not alive: it was waited for, or its "
                           "completion was taken, before"));
  }
  if (!is_done(index)) return CUBBY_PENDING;
  const engine::request &r = requests_[index];
  const cubby_status status = r.status;
  if (status != CUBBY_OK) keep_error(r.failure);
  if (r.queue == nullptr) requests_.give(index);
  return status;
}

bool tickets::cancel(cubby_ticket ticket) {
  const std::lock_guard lock(mutex_);
  const uint32_t index = find(ticket);
  if (index == engine::no_index) return false;
  requests_[index].cancel_wanted.store(true, std::memory_order_seq_cst);
  pins_.note_withdrawal();
  return true;
}

bool tickets::progress(cubby_ticket ticket, cubby_done &out) {
  const std::lock_guard lock(mutex_);
  const uint32_t index = find(ticket);
  if (index == engine::no_index) return false;
  const bool over = is_done(index);
  out = figures(index);
  out.ticket = ticket;
  if (!over) {
    out.status = CUBBY_PENDING;
    out.done_ns = 0;
  }
  return true;
}

void tickets::taken(std::span<const uint32_t> requests) {
  const std::lock_guard lock(mutex_);
  for (const uint32_t index : requests) {
    const engine::request &r = requests_[index];
    if (r.status < 0 || r.status == CUBBY_PARTIAL) keep_error(r.failure);
    requests_.give(index);
  }
}

cubby_done tickets::figures(uint32_t index) const {
  const engine::request &r = requests_[index];
  cubby_done out{};
  out.user = r.user;
  out.ticket = of(index);
  out.status = r.status;
  out.ok_count = r.ok_count;
  out.item_count = r.item_count();
  out.bytes = r.bytes;
  out.issued_ns = r.issued_ns;
  out.done_ns = r.done_ns;
  return out;
}

}  // namespace cubby::api
