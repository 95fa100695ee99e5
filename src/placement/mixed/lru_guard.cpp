#include "placement/mixed/lru_guard.hpp"

namespace cubby::placement::mixed {
namespace {

constexpr double allowed_of_waiting = 0.05;  // of what LRU would have waited
constexpr size_t request_max = 65536;        // blocks of one request that are looked at
constexpr uint32_t passes = 4;

}  // namespace

void lru_guard::change(const cubby_policy_config &config) {
  const size_t count = std::max<size_t>(resident_.size(), config.object_count);
  lists_.grow(static_cast<uint32_t>(count));
  resident_.resize(count);
  mark_of_.resize(count);
  touched_.reserve(std::min(request_max, count));
  budget_bytes_ = static_cast<double>(config.budget_bytes);
  shadow_bytes_ = missing_ns_ = 0;
  for (cubby_object object = lists_.oldest(shadow); object != CUBBY_NO_OBJECT;
       object = lists_.newer(object)) {
    shadow_bytes_ += of_.bytes(object);
    if (!resident(object)) missing_ns_ += of_.stall_ns(object);
  }
}

void lru_guard::inserted(cubby_object object) {
  resident_[object] = 1;
  if (!in_shadow(object)) return lists_.renew(spare, object);
  missing_ns_ -= of_.stall_ns(object);
  if (!under_way(object)) from_[shadow] = CUBBY_NO_OBJECT;  // it may have been passed over
}

void lru_guard::removed(cubby_object object) {
  resident_[object] = 0;
  if (in_shadow(object))
    missing_ns_ += of_.stall_ns(object);
  else
    take(object);
}

/// Out of its list; no walk stands on it any more.
void lru_guard::take(cubby_object object) {
  for (cubby_object *at : {&from_[0], &from_[1], &at_})
    if (*at == object) *at = lists_.newer(object);
  lists_.take(object);
}

void lru_guard::forget_oldest() {
  const cubby_object oldest = lists_.oldest(shadow);
  take(oldest);
  shadow_bytes_ -= of_.bytes(oldest);
  if (resident(oldest))
    lists_.renew(spare, oldest);
  else
    missing_ns_ -= of_.stall_ns(oldest);
}

/// As LRU would.
void lru_guard::touch(cubby_object object) {
  if (!in_shadow(object)) {
    const double bytes = of_.bytes(object);
    while (lists_.size(shadow) != 0 && shadow_bytes_ + bytes > budget_bytes_) forget_oldest();
    shadow_bytes_ += bytes;
    if (!resident(object)) missing_ns_ += of_.stall_ns(object);
  }
  take(object);
  lists_.renew(shadow, object);
}

void lru_guard::visit(std::span<const cubby_object> used) {
  end_request();
  for (const cubby_object object : used) {
    const double stall_ns = of_.stall_ns(object);
    lead_ns_ += stall_ns * ((resident(object) ? 1 : 0) - (in_shadow(object) ? 1 : 0));
    if (!in_shadow(object)) allowed_ns_ += allowed_of_waiting * stall_ns;
  }
  settle();
  for (const cubby_object object : used) touch(object);
}

void lru_guard::access(cubby_object object, uint64_t request) {
  if (request != request_ || mark_ == 0) {
    end_request();
    request_ = request;
    last_mark_ = mark_ = static_cast<uint8_t>(last_mark_ % 255 + 1);
    run_open_[0] = run_open_[1] = true;
  }
  const double stall_ns = of_.stall_ns(object);
  run_open_[0] = run_open_[0] && resident(object);
  run_open_[1] = run_open_[1] && in_shadow(object);
  for (uint32_t i = 0; i < 2; ++i) run_ns_[i] += run_open_[i] ? stall_ns : 0;
  if (!run_open_[1] && mark_of_[object] != 0) allowed_ns_ += allowed_of_waiting * stall_ns;
  mark_of_[object] = mark_;
  if (touched_.size() < touched_.capacity()) touched_.push_back(object);
  settle();
}

/// LRU touches the blocks of a request from the last, so that a prefix leaves from its end.
void lru_guard::end_request() {
  from_[0] = from_[1] = CUBBY_NO_OBJECT;
  if (mark_ == 0) return;
  mark_ = 0;
  lead_ns_ += run_ns_[0] - run_ns_[1];
  run_ns_[0] = run_ns_[1] = 0;
  for (size_t i = touched_.size(); i-- > 0;) touch(touched_[i]);
  touched_.clear();
}

/// For all that comes of one use, however its moves are ordered.
void lru_guard::settle() {
  const bool decided = decides_;
  decides_ = missing_ns_ > lead_ns_ + allowed_ns_;
  takeovers_ += decides_ && !decided ? 1 : 0;
}

void lru_guard::begin_round() {
  pass_ = 0;
  entered_ = false;
}

/// Objects outside the shadow before those in it; blocks of the request under way after all others.
cubby_object lru_guard::next() {
  for (; pass_ < passes; ++pass_, entered_ = false) {
    const cubby_object object = next_of(pass_ % 2 == 0 ? spare : shadow, pass_ >= 2);
    if (object != CUBBY_NO_OBJECT) return object;
  }
  return CUBBY_NO_OBJECT;
}

/// From the oldest on. What the request under way has passed over is not looked at again before it
/// ends.
cubby_object lru_guard::next_of(uint8_t list, bool of_request) {
  const auto will_do = [&](cubby_object object) {
    return resident(object) && under_way(object) == of_request;
  };
  if (!entered_ && !of_request) {
    cubby_object &from = from_[list];
    if (from == CUBBY_NO_OBJECT) from = lists_.oldest(list);
    while (from != CUBBY_NO_OBJECT && !will_do(from) && lists_.newer(from) != CUBBY_NO_OBJECT)
      from = lists_.newer(from);
    at_ = from;
  } else if (!entered_) {
    at_ = lists_.oldest(list);
  }
  entered_ = true;
  while (at_ != CUBBY_NO_OBJECT) {
    const cubby_object object = at_;
    at_ = lists_.newer(object);
    if (will_do(object)) return object;
  }
  return CUBBY_NO_OBJECT;
}

}  // namespace cubby::placement::mixed
