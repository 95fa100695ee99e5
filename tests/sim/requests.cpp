// The life of a request as a caller sees it: asked, accepted or refused, completed once.
#include <algorithm>

#include "sim/simulation.hpp"

namespace sim {
namespace {

constexpr int8_t untouched = 77;  // what the runtime must have written over

bool is_final_failure(int status) { return status == CUBBY_MISS || status < 0; }

}  // namespace

shadow_request &simulation::prepare(asked kind, uint32_t item_count) {
  shadow_request &r = alive_.emplace_back();
  r.kind = kind;
  r.number = next_number_++;
  r.items.resize(item_count);
  return r;
}

std::vector<cubby_item> simulation::items_of(const shadow_request &r) const {
  std::vector<cubby_item> items(r.items.size());
  for (size_t i = 0; i < items.size(); ++i) {
    items[i].id = CUBBY_ID(r.items[i].bank->handle, r.items[i].number);
  }
  return items;
}

void simulation::fill_how(const shadow_request &r, cubby_how &how) {
  how.struct_size = sizeof how;
  how.flags = r.flags;
  how.io_class = static_cast<uint8_t>(r.io_class);
  how.deadline_ns = r.deadline_ns;
  how.user = r.number;
  how.cq = r.queue < 0 ? nullptr : queues_[static_cast<size_t>(r.queue)].cq;
  how.item_status = nullptr;
}

uint64_t simulation::outstanding(int queue) const {
  return static_cast<uint64_t>(std::count_if(
      alive_.begin(), alive_.end(),
      [&](const shadow_request &r) { return r.ticket != 0 && (queue == -2 || r.queue == queue); }));
}

void simulation::ask_pin(shadow_request &r) {
  const std::vector<cubby_item> items = items_of(r);
  const auto count = static_cast<uint32_t>(items.size());
  r.addr.assign(size_t{count} * r.part_count, nullptr);
  r.status.assign(count, untouched);
  cubby_how how{};
  fill_how(r, how);
  if (r.has_status) how.item_status = r.status.data();
  bool joins = false, raises = false;
  for (const shadow_request &other : alive_) {
    if (&other == &r || other.ticket == 0 || other.tier != r.tier || other.canceled) continue;
    for (const shadow_item &theirs : other.items) {
      const bool same = std::any_of(r.items.begin(), r.items.end(), [&](const shadow_item &ours) {
        return ours.bank == theirs.bank && ours.number == theirs.number;
      });
      joins = joins || same;
      raises = raises || (same && other.io_class > r.io_class);
    }
  }
  const uint64_t places = outstanding(r.queue);
  const cubby_status status = cubby_pin(rt_, items.data(), count, tiers_[r.tier].handle, &how,
                                        &r.pins, r.addr.data(), &r.ticket);
  log_.add(step_, "pin request=%" PRIu64 " items=%" PRIu64 " flags=%" PRIu64, r.number, count,
           r.flags | uint64_t{r.io_class} << 8 | uint64_t{r.tier} << 16, status);
  if (status != CUBBY_PENDING) {
    r.ticket = 0;
    if (status == CUBBY_OK || status == CUBBY_PARTIAL) return finish(r, status);
    return refused(r, status);
  }
  if (r.queue >= 0 && places >= queues_[static_cast<size_t>(r.queue)].capacity) {
    violate("P3", "request %" PRIu64 " was accepted without a place in its queue", r.number);
  }
  if (joins) saw(seen::join);
  if (raises) saw(seen::raise);
  accepted(r);
}

void simulation::accepted(shadow_request &r) {
  if (r.ticket == 0 || (r.kind == asked::pin && r.pins == 0)) {
    return violate("P3", "request %" PRIu64 " is PENDING and has no ticket or no pins", r.number);
  }
  if ((r.flags & CUBBY_NO_WAIT) != 0 && r.kind != asked::prefetch) {
    return violate("P3", "request %" PRIu64 " with NO_WAIT is PENDING", r.number);
  }
  r.asked_poll = polls_;
  r.last_status = r.status;
  for (size_t i = 0; i < r.items.size(); ++i) {
    ++r.items[i].bank->asked_count;
    if (!r.has_status) continue;
    const int8_t now = r.status[i];
    r.last_status[i] = now;
    if (now != CUBBY_PENDING && now != CUBBY_OK && !is_final_failure(now)) {
      return violate("P3", "request %" PRIu64 ": the status of item %zu was not written", r.number,
                     i);
    }
  }
}

bool simulation::fits_easily(const shadow_request &r) const {
  uint64_t needed = 0;
  for (const shadow_item &item : r.items) needed += frame_bytes_max(*item.bank, item.number);
  return !r.items.empty() && needed <= tiers_[r.tier].budget_bytes / 2;
}

/// The call itself said no: nothing is held and no ticket is alive.
void simulation::refused(shadow_request &r, cubby_status status) {
  if (status == CUBBY_ERR_BUSY) {
    const bool queue_full =
        r.queue >= 0 && outstanding(r.queue) >= queues_[static_cast<size_t>(r.queue)].capacity;
    if (queue_full) saw(seen::queue_full_refused);
    if (!queue_full && outstanding(-2) + 1 < tickets_max_ / 2) {
      violate("P3", "request %" PRIu64 " is BUSY with %" PRIu64 " of %u tickets alive", r.number,
              outstanding(-2), tickets_max_);
    }
  } else if (status == CUBBY_ERR_BUDGET) {
    if (fits_easily(r) && !tiers_[r.tier].shrinking) {
      violate("P6", "request %" PRIu64 " is BUDGET and needs less than half of it", r.number);
    }
    saw(seen::budget_refused);
  } else if (status == CUBBY_MISS && (r.flags & CUBBY_NO_WAIT) != 0) {
    for (const shadow_item &item : r.items) {
      if (item.bank->lockers[item.number].holds[r.tier].count == 0) continue;
      if (r.items.size() > 1) continue;
      violate("P6", "request %" PRIu64 ": bank %" PRIu64 " locker %u is pinned and a MISS",
              r.number, item.bank->ordinal, item.number);
    }
    saw(seen::no_wait_miss);
  } else if (r.items.empty() || !r.items[0].bank->file_changed) {
    char text[256] = "";
    cubby_explain(nullptr, text, sizeof text);
    violate("P5", "request %" PRIu64 " was refused: %s: %s", r.number, cubby_status_name(status),
            text);
  } else {
    saw(seen::changed_file_refused);
  }
  alive_.remove_if([&](const shadow_request &one) { return &one == &r; });
}

void simulation::check_failure(const shadow_request &r, const shadow_item &item, int status) {
  const shadow_locker &locker = item.bank->lockers[item.number];
  const bool bad_world = locker.struck || copies_struck_ || item.bank->file_changed;
  const bool late_forecast = r.io_class != CUBBY_DEMAND && r.deadline_ns != 0;
  bool allowed = false;
  switch (status) {
    case CUBBY_MISS:
      allowed = (r.flags & CUBBY_NO_WAIT) != 0 || r.kind == asked::prefetch;
      if (locker.holds[r.tier].count != 0 && r.kind == asked::pin) {
        return violate("P6", "request %" PRIu64 ": bank %" PRIu64 " locker %u is pinned and a MISS",
                       r.number, item.bank->ordinal, item.number);
      }
      break;
    case CUBBY_ERR_CANCELED:
    case CUBBY_ERR_TIMEOUT:
      allowed = r.canceled || item.released || late_forecast;
      if (late_forecast && !r.canceled && !item.released) saw(seen::late_forecast_canceled);
      break;
    case CUBBY_ERR_CORRUPT:
      allowed = bad_world;
      saw(item.bank->file_changed ? seen::changed_file_refused : seen::corrupt_refused);
      break;
    case CUBBY_ERR_IO:
      allowed = bad_world;
      saw(seen::io_error_refused);
      break;
    case CUBBY_ERR_FORMAT:
    case CUBBY_ERR_DEVICE:
      allowed = bad_world;
      if (item.bank->file_changed) saw(seen::changed_file_refused);
      break;
    case CUBBY_ERR_NO_MEMORY:
      allowed = any_struck_;
      break;
    case CUBBY_ERR_BUDGET:
    case CUBBY_ERR_NO_SPACE:
    case CUBBY_ERR_BUSY:
      allowed = r.kind != asked::pin || tiers_[r.tier].shrinking || !fits_easily(r);
      saw(seen::budget_refused);
      break;
    default:
      break;
  }
  if (allowed || r.canceled) return;
  violate("P5",
          "request %" PRIu64 ": bank %" PRIu64
          " locker %u failed with %s and nothing is wrong "
          "with it",
          r.number, item.bank->ordinal, item.number,
          cubby_status_name(static_cast<cubby_status>(status)));
}

void simulation::finish(shadow_request &r, int status) {
  log_.add(step_, "done request=%" PRIu64 " queue=%" PRIu64, r.number,
           static_cast<uint64_t>(r.queue + 1), 0, status);
  const bool was_alive = r.ticket != 0;
  r.ticket = 0;
  if (was_alive) {
    for (const shadow_item &item : r.items) --item.bank->asked_count;
  }
  if (status == CUBBY_PENDING || status == CUBBY_ERR_STALE) {
    return violate("P3", "request %" PRIu64 " completed with %s", r.number,
                   cubby_status_name(static_cast<cubby_status>(status)));
  }
  if (was_alive && r.deadline_ns != 0 && r.deadline_ns < now_ns_ && status == CUBBY_OK &&
      r.io_class == CUBBY_DEMAND) {
    saw(seen::late_demand_served);
  }
  if (r.kind == asked::resize) {
    finish_resize(r, status);
  } else {
    finish_items(r, status);
  }
  if (violations_.empty()) forget(r);
}

/// What completed becomes a held set or is gone.
void simulation::forget(shadow_request &r) {
  const auto at = std::find_if(alive_.begin(), alive_.end(),
                               [&](const shadow_request &one) { return &one == &r; });
  if (r.complete && !r.all_released()) {
    held_.splice(held_.end(), alive_, at);
  } else {
    alive_.erase(at);
  }
}

void simulation::finish_resize(shadow_request &r, int status) {
  shadow_tier &tier = tiers_[r.tier];
  if (status == CUBBY_OK) {
    saw(r.budget_bytes > tier.budget_bytes ? seen::resize_grow : seen::resize_shrink);
    tier.budget_bytes = r.budget_bytes;
    return;
  }
  const bool allowed = status == CUBBY_ERR_BUDGET || status == CUBBY_ERR_BUSY ||
                       (status == CUBBY_ERR_CANCELED && r.canceled) ||
                       (status == CUBBY_ERR_NO_MEMORY && any_struck_);
  if (!allowed) {
    violate("P6", "request %" PRIu64 ": resize ended with %s", r.number,
            cubby_status_name(static_cast<cubby_status>(status)));
  }
  saw(seen::resize_refused);
}

void simulation::finish_items(shadow_request &r, int status) {
  const bool pin = r.kind == asked::pin;
  const bool some = status == CUBBY_OK || status == CUBBY_PARTIAL;
  if (status == CUBBY_PARTIAL) saw(seen::partial_set);
  if (status == CUBBY_PARTIAL && r.kind == asked::gather && !r.has_status) {
    return violate("P3", "request %" PRIu64 " is PARTIAL, and nothing says which rows came",
                   r.number);
  }
  if (r.canceled) {
    saw(some ? seen::cancel_too_late
             : (r.canceled_at_once ? seen::cancel_before_issue : seen::cancel_in_flight));
  }
  if (pin && some && (r.flags & CUBBY_BYPASS) != 0) saw(seen::bypass);
  uint32_t ok_count = 0;
  for (uint32_t i = 0; i < r.items.size() && violations_.empty(); ++i) {
    shadow_item &item = r.items[i];
    int now = status;
    if (r.has_status) {
      now = r.status[i];
    } else if (status == CUBBY_PARTIAL && pin) {
      now = r.addr[i * r.part_count] != nullptr ? CUBBY_OK : CUBBY_MISS;
      if (now != CUBBY_OK) continue;
    } else if (status != CUBBY_OK) {
      continue;
    }
    if (now == CUBBY_PENDING || (now > CUBBY_PARTIAL && r.has_status)) {
      return violate("P3", "request %" PRIu64 " completed with %s and item %u is not final",
                     r.number, cubby_status_name(static_cast<cubby_status>(status)), i);
    }
    if (r.kind == asked::gather && !check_row(r, i, now == CUBBY_OK)) return;
    if (now != CUBBY_OK) {
      if (status == CUBBY_OK && !item.released) {
        return violate("P3", "request %" PRIu64 " is OK and item %u is %s", r.number, i,
                       cubby_status_name(static_cast<cubby_status>(now)));
      }
      check_failure(r, item, now);
      continue;
    }
    ++ok_count;
    if (!pin || !some || item.released) continue;
    hold(r, i);
    if (!violations_.empty()) return;
    const bool device = has_device_ && r.tier == 0;
    if (r.asked_poll != 0 && !device) saw(seen::file_to_host);
    if (r.asked_poll != 0 && device && !has_host_) saw(seen::file_to_device);
  }
  // After an error nothing is held; what failed in a set of which some came is unpinned with it.
  const bool by_us = r.canceled || r.any_released();
  for (shadow_item &item : r.items) item.released = item.released || !pin || !some;
  r.complete = pin && some;
  if (status < 0 && ok_count != 0 && !by_us) {
    violate("P3", "request %" PRIu64 " failed with %s and %u of its items are OK", r.number,
            cubby_status_name(static_cast<cubby_status>(status)), ok_count);
  }
}

void simulation::ask_prefetch(shadow_request &r, bool no_ticket) {
  const std::vector<cubby_item> items = items_of(r);
  const auto count = static_cast<uint32_t>(items.size());
  r.status.assign(count, untouched);
  cubby_how how{};
  fill_how(r, how);
  if (r.has_status) how.item_status = r.status.data();
  const cubby_status status = cubby_prefetch(rt_, items.data(), count, tiers_[r.tier].handle, &how,
                                             no_ticket ? nullptr : &r.ticket);
  log_.add(step_, "prefetch request=%" PRIu64 " items=%" PRIu64 " how=%" PRIu64, r.number, count,
           r.flags | uint64_t{r.io_class} << 8 | uint64_t{r.tier} << 16, status);
  const bool accepted_now = status == CUBBY_PENDING;
  if (status != CUBBY_OK && !accepted_now) {
    r.ticket = 0;
    return refused(r, status);
  }
  if (no_ticket || !accepted_now) {
    alive_.remove_if([&](const shadow_request &one) { return &one == &r; });
    return;
  }
  accepted(r);
}

void simulation::ask_gather(shadow_request &r) {
  const shadow_bank &bank = *r.items.front().bank;
  const auto count = static_cast<uint32_t>(r.items.size());
  r.status.assign(count, untouched);
  r.into.assign(size_t{count} * bank.table_row_bytes, not_written);
  cubby_how how{};
  fill_how(r, how);
  if (r.has_status) how.item_status = r.status.data();
  cubby_span span{};
  span.offset_bytes = reinterpret_cast<uintptr_t>(r.into.data());
  span.bytes = r.into.size();
  const cubby_status status =
      cubby_gather(rt_, bank.handle, r.table_rows.data(), count, &span, &how, &r.ticket);
  log_.add(step_, "gather request=%" PRIu64 " rows=%" PRIu64 " how=%" PRIu64, r.number, count,
           r.flags | uint64_t{r.io_class} << 8, status);
  if (status == CUBBY_PENDING) {
    saw(seen::gather_later);
    return accepted(r);
  }
  r.ticket = 0;
  if (status != CUBBY_OK && status != CUBBY_PARTIAL) return refused(r, status);
  saw(status == CUBBY_OK ? seen::gather_at_once : seen::gather_missed);
  finish(r, status);
}

void simulation::take_completions(int queue, uint32_t max_count) {
  cubby_done done[16];
  const uint32_t count =
      cubby_cq_take(queues_[static_cast<size_t>(queue)].cq, done, std::min(max_count, 16u));
  for (uint32_t i = 0; i < count && violations_.empty(); ++i) {
    const auto r = std::find_if(alive_.begin(), alive_.end(), [&](const shadow_request &one) {
      return one.number == done[i].user && one.ticket != 0;
    });
    if (r == alive_.end() || r->ticket != done[i].ticket || r->queue != queue) {
      return violate("P3", "a completion for request %" PRIu64 " that is not alive%s", done[i].user,
                     done[i].user < next_number_ ? ": completed twice?" : "");
    }
    if (done[i].item_count != r->items.size() || done[i].ok_count > done[i].item_count) {
      return violate("P3", "request %" PRIu64 " of %zu items says %u of %u", r->number,
                     r->items.size(), done[i].ok_count, done[i].item_count);
    }
    if (done[i].issued_ns > done[i].done_ns || done[i].done_ns > now_ns_) {
      return violate("P3",
                     "request %" PRIu64 ": issued %" PRIu64 ", done %" PRIu64 ", now %" PRIu64,
                     r->number, done[i].issued_ns, done[i].done_ns, now_ns_);
    }
    log_.add(step_, "take request=%" PRIu64 " ok=%" PRIu64 " bytes=%" PRIu64, r->number,
             done[i].ok_count, done[i].bytes, static_cast<int64_t>(done[i].done_ns));
    finish(*r, done[i].status);
  }
}

void simulation::try_wait(request_list::iterator r) {
  const cubby_ticket ticket = r->ticket;
  const cubby_status status = cubby_wait(rt_, ticket, 0);
  if (status == CUBBY_ERR_TIMEOUT) return;
  const uint64_t number = r->number;
  finish(*r, status);
  if (!violations_.empty()) return;
  if (const cubby_status again = cubby_wait(rt_, ticket, 0); again != CUBBY_ERR_STALE) {
    violate("P3", "request %" PRIu64 ": waited for twice, the second time says %s", number,
            cubby_status_name(again));
  }
}

}  // namespace sim
