#include "placement/moe/net.hpp"

#include <algorithm>

namespace cubby::placement::moe {
namespace {

constexpr double memory_cycles = 100;      // of the lead
constexpr double behind_allowed = 0.5e-3;  // of all uses, before LRU takes over
constexpr double lead_to_return = 0.01;
constexpr uint64_t returns_doubted = 4;  // times that lead, for who came back in vain so often

}  // namespace

uint32_t net::lru_hits(const cubby_policy_visit &visit, const layer_shape &shape) {
  uint32_t hits = 0;
  for (uint32_t i = 0; i < visit.used_count; ++i) {
    const uint32_t lane = lane_of(shape, visit.used[i]);
    if (!lru_.holds(lane)) continue;
    ++hits;
    lru_.renew(lane);
  }
  if (hits == visit.used_count) return hits;
  for (uint32_t i = 0; i < visit.used_count; ++i) {
    const uint32_t lane = lane_of(shape, visit.used[i]);
    if (lru_.holds(lane)) continue;
    while (lru_.size() != 0 && lru_.size() >= capacity_) lru_.take(lru_.oldest());
    lru_.renew(lane);
  }
  return hits;
}

uint32_t net::learned_hits(const index &of, const cubby_policy_visit &visit, uint32_t layer) {
  learned_.changed(layer);
  const layer_shape &shape = of.layer(layer);
  const float *keys = of.keys(layer);
  uint32_t hits = 0;
  for (uint32_t i = 0; i < visit.used_count; ++i)
    hits += learned_.holds(lane_of(shape, visit.used[i])) ? 1u : 0u;
  for (uint32_t i = 0; i < visit.used_count; ++i) {
    const uint32_t lane = lane_of(shape, visit.used[i]);
    if (learned_.holds(lane)) continue;
    for (; learned_size_ > capacity_; --learned_size_) {  // the budget shrank
      const ranking::top top = learned_.largest(of);
      learned_.remove(top.lane, top.layer);
    }
    if (learned_size_ >= capacity_) {
      const ranking::top top = learned_.largest(of);
      if (top.key <= keys[lane - shape.at]) continue;
      learned_.remove(top.lane, top.layer);
      --learned_size_;
    }
    learned_.insert(lane, layer);
    ++learned_size_;
  }
  return hits;
}

uint32_t net::next(const ranking &real) {
  const auto &resident = real.residents().bytes(), &held = lru_.held().bytes();
  for (; gone_at_ < 8 * resident.size(); ++gone_at_) {
    const uint32_t byte = gone_at_ / 8;
    const uint32_t left = (resident[byte] & ~held[byte] & 0xFFu) >> gone_at_ % 8;
    if (left == 0) {
      gone_at_ |= 7;
      continue;
    }
    gone_at_ += static_cast<uint32_t>(std::countr_zero(left));
    return gone_at_++;
  }
  if (!walking_) walk_ = lru_.oldest();
  walking_ = true;
  while (walk_ != recency::none) {
    const uint32_t lane = walk_;
    walk_ = lru_.newer(lane);
    if (real.holds(lane)) return lane;
  }
  return recency::none;
}

void net::visit(const index &of, const cubby_policy_visit &visit, uint32_t layer,
                const ranking &real) {
  const layer_shape &shape = of.layer(layer);
  const double lru = lru_hits(visit, shape);
  double really = 0;
  for (uint32_t i = 0; i < visit.used_count; ++i)
    really += real.holds(lane_of(shape, visit.used[i])) ? 1u : 0u;
  const double learned = in_charge_ ? learned_hits(of, visit, layer) : really;
  // What counts is the time that hits save.
  const double weight = shape.weight, uses = weight * visit.used_count;
  uses_ += uses;
  behind_ += weight * (lru - really);
  const double rate = 1 / (memory_cycles * std::max(1u, of.layer_count()));
  lead_ += rate * (weight * (learned - lru) / visit.used_count - lead_);
  const double cycle = visit.used_count * static_cast<double>(of.layer_count());
  // A token's uses in any case: who has seen few tokens has not learned yet.
  const bool far_behind = behind_ > std::max(cycle, behind_allowed * uses_ + 0.25 * cycle);
  // Changing sides costs hits. Whoever is behind by having come back has to lead by more.
  const auto times = far_behind ? static_cast<double>(std::min(takeovers_, returns_doubted)) : 1;
  if (!in_charge_ && lead_ < 0 && far_behind) {
    in_charge_ = true;
    ++takeovers_;
    learned_ = real;
    learned_.show_all();
    learned_size_ = learned_.size();
  } else if (in_charge_ && lead_ > times * lead_to_return) {
    in_charge_ = false;
  }
}

}  // namespace cubby::placement::moe
