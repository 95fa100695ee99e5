#include "placement/moe/lru_guard.hpp"

namespace cubby::placement::moe {
namespace {

// How many hits fewer than LRU there may be:
constexpr double allowed_of_uses = 1e-3;
constexpr double allowed_of_token = 0.1;  // of what one token uses, to begin with

}  // namespace

lru_guard::lru_guard(const index &of, uint32_t capacity)
    : lru_(1, of.lane_count()),
      spare_(of),
      capacity_(capacity),
      allowed_(allowed_of_token * static_cast<double>(of.working_set())) {}

void lru_guard::change(const index &of, const ranking &real, uint32_t capacity) {
  capacity_ = capacity;
  fits_ = 0;
  missing_ = 0;
  for (const layer_shape &shape : of.layers())
    for (uint32_t lane = shape.at; lane < shape.at + shape.experts; ++lane)
      if (lru_holds(lane) && !real.holds(lane)) missing_ += shape.weight;
}

void lru_guard::forget_oldest(const index &of, const ranking &real) {
  const uint32_t lane = lru_.oldest(held_by_lru), layer = of.layer_at(lane);
  lru_.take(lane);
  if (real.holds(lane))
    spare_.insert(lane, layer);
  else
    missing_ -= of.layer(layer).weight;
}

void lru_guard::fetch(const index &of, const cubby_policy_visit &visit, uint32_t layer,
                      const ranking &real) {
  const layer_shape &shape = of.layer(layer);
  for (uint32_t i = 0; i < visit.used_count; ++i) {
    const uint32_t lane = lane_of(shape, visit.used[i]);
    if (lru_holds(lane)) continue;
    while (lru_.size(held_by_lru) != 0 && lru_.size(held_by_lru) >= room()) forget_oldest(of, real);
    lru_.renew(held_by_lru, lane);
    if (real.holds(lane))
      spare_.remove(lane, layer);
    else
      missing_ += shape.weight;
  }
}

void lru_guard::visit(const index &of, const cubby_policy_visit &visit, uint32_t layer,
                      const ranking &real) {
  const layer_shape &shape = of.layer(layer);
  spare_.changed(layer);
  excuse();
  uint32_t hits = 0, lru_hits = 0;
  for (uint32_t i = 0; i < visit.used_count; ++i) {
    const uint32_t lane = lane_of(shape, visit.used[i]);
    hits += real.holds(lane) ? 1u : 0u;
    if (!lru_holds(lane)) continue;
    ++lru_hits;
    lru_.renew(held_by_lru, lane);
  }
  if (lru_hits != visit.used_count) fetch(of, visit, layer, real);
  // What counts is the time that hits save.
  lead_ += shape.weight * (static_cast<double>(hits) - lru_hits);
  allowed_ += allowed_of_uses * shape.weight * visit.used_count;
}

/// A tier may hold fewer than its budget says, for what is on its way: LRU has no more room.
uint32_t lru_guard::room() const { return fits_ == 0 ? capacity_ : std::min(capacity_, fits_); }

void lru_guard::inserted(const index &of, uint32_t lane, uint32_t layer) {
  ++held_;
  if (fits_ != 0) fits_ = std::max(fits_, held_);
  if (lru_holds(lane))
    missing_ -= of.layer(layer).weight;
  else
    spare_.insert(lane, layer);
}

void lru_guard::removed(const index &of, uint32_t lane, uint32_t layer) {
  --held_;
  if (lru_holds(lane))
    missing_ += of.layer(layer).weight;
  else
    spare_.remove(lane, layer);
}

/// Where a tier can do as LRU would, it is never further behind than that. Where it is, because of
/// what is on its way or only passes through a nearer tier, the index need not pay for it.
void lru_guard::excuse() {
  if (lead_ >= -allowed_) return;
  lead_ = -allowed_;
  unavoidable_ = std::max(unavoidable_, missing_);
}

void lru_guard::begin_round() {
  const bool decided = decides_;
  decides_ = missing_ > lead_ + allowed_ + unavoidable_;
  takeovers_ += decides_ && !decided ? 1 : 0;
  walking_ = false;
  if (fits_ == 0) fits_ = std::max(held_, 1u);
}

uint32_t lru_guard::next(const index &of, const ranking &real) {
  if (const ranking::top top = spare_.largest(of); top.key != ranking::absent) {
    spare_.hide(top.lane, top.layer);
    return top.lane;
  }
  if (!walking_) walk_ = lru_.oldest(held_by_lru);
  walking_ = true;
  while (walk_ != CUBBY_NO_OBJECT) {
    const uint32_t lane = walk_;
    walk_ = lru_.newer(lane);
    if (real.holds(lane)) return lane;
  }
  return CUBBY_NO_OBJECT;
}

}  // namespace cubby::placement::moe
