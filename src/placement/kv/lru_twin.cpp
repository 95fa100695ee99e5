#include "placement/kv/lru_twin.hpp"

#include <algorithm>

namespace cubby::placement::kv {
namespace {

// Of those that LRU holds alone so many are used before LRU gives them up: as has been seen, after
// a belief in the worst, and this part at least, since what has been seen may change.
constexpr double believed = 50, used_part_min = 0.1;

}  // namespace

void lru_twin::renew(uint8_t list, cubby_object who) {
  if (walked_to_ == who) walked_to_ = lists_.newer(who);
  lists_.renew(list, who);
}

bool lru_twin::make_room(const blocks &known, const block_set &real, uint32_t capacity) {
  while (lists_.size(kept) >= capacity) {
    const cubby_object who = lists_.oldest(kept);
    if (who == CUBBY_NO_OBJECT || known.in_use(who)) return false;
    renew(leaving, who);
    if (real.holds(who))
      spare_.insert(who, known.at(who).parent);
    else
      --missing_;
  }
  return true;
}

bool lru_twin::used(cubby_object who, const blocks &known, const held &now, uint32_t capacity) {
  const uint8_t was = lists_.where(who);
  const bool hit = was != object_lists::nowhere;
  if (hit && !now.index.holds(who)) {
    ++left_;
    ++used_;
  }
  if (was != kept) {
    if (!make_room(known, now.real, capacity)) return hit;
    if (now.real.holds(who))
      spare_.remove(who, known.at(who).parent);
    else
      ++missing_;
  }
  renew(kept, who);
  return hit;
}

void lru_twin::request_ended(const std::vector<cubby_object> &touched, const held &now) {
  for (size_t i = touched.size(); i-- > 0;)
    if (lists_.where(touched[i]) == kept) renew(kept, touched[i]);
  for (;;) {
    const cubby_object who = lists_.oldest(leaving);
    if (who == CUBBY_NO_OBJECT) break;
    if (!now.index.holds(who)) ++left_;
    lists_.take(who);
  }
  walked_to_ = CUBBY_NO_OBJECT;
}

void lru_twin::inserted(cubby_object who, cubby_object parent) {
  if (lists_.where(who) == kept)
    --missing_;
  else
    spare_.insert(who, parent);
}

void lru_twin::removed(cubby_object who, cubby_object parent) {
  if (!spare_.holds(who)) {
    missing_ += lists_.where(who) == kept ? 1 : 0;
    return;
  }
  spare_.remove(who, parent);
  if (parent != CUBBY_NO_OBJECT && spare_.is_leaf(parent)) chooser_.left(parent);
}

void lru_twin::forget(cubby_object who) {
  if (walked_to_ == who) walked_to_ = lists_.newer(who);
  if (lists_.where(who) == kept) --missing_;
  lists_.take(who);
}

cubby_object lru_twin::oldest(const blocks &known, const block_set &real) {
  const auto may_leave = [&](cubby_object who) { return real.holds(who) && !known.in_use(who); };
  if (walked_to_ == CUBBY_NO_OBJECT) walked_to_ = lists_.oldest(kept);
  while (walked_to_ != CUBBY_NO_OBJECT && !may_leave(walked_to_) &&
         lists_.newer(walked_to_) != CUBBY_NO_OBJECT)
    walked_to_ = lists_.newer(walked_to_);
  const bool found = walked_to_ != CUBBY_NO_OBJECT && may_leave(walked_to_);
  return found ? walked_to_ : CUBBY_NO_OBJECT;
}

double lru_twin::at_stake() const {
  const double part = (used_ + believed) / (left_ + believed);
  return std::max(part, used_part_min) * missing_;
}

}  // namespace cubby::placement::kv
