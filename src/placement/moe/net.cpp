#include "placement/moe/net.hpp"

#include <algorithm>

namespace cubby::placement::moe {
namespace {

constexpr double memory_cycles = 50;     // of the lead
constexpr double behind_allowed = 1e-3;  // of all uses, before LRU takes over
constexpr double lead_to_return = 0.01;

}  // namespace

uint32_t net::lru_hits(const cubby_policy_visit &visit) {
  uint32_t hits = 0;
  for (uint32_t i = 0; i < visit.used_count; ++i) {
    if (lru_.where(visit.used[i]) != 0) continue;
    ++hits;
    lru_.renew(0, visit.used[i]);
  }
  for (uint32_t i = 0; i < visit.used_count; ++i) {
    if (lru_.where(visit.used[i]) == 0) continue;
    while (lru_.size(0) != 0 && lru_.size(0) >= capacity_) lru_.take(lru_.oldest(0));
    lru_.renew(0, visit.used[i]);
  }
  return hits;
}

uint32_t net::learned_hits(const index &of, const cubby_policy_visit &visit, uint32_t layer,
                           const std::vector<place> &places) {
  learned_.changed(layer);
  const layer_shape &shape = of.layer(layer);
  const float *keys = of.keys(layer);
  uint32_t hits = 0;
  for (uint32_t i = 0; i < visit.used_count; ++i)
    hits += learned_.holds(places[visit.used[i]].lane) ? 1u : 0u;
  for (uint32_t i = 0; i < visit.used_count; ++i) {
    const place at = places[visit.used[i]];
    if (learned_.holds(at.lane)) continue;
    for (; learned_size_ > capacity_; --learned_size_) {  // the budget shrank
      const ranking::top top = learned_.largest(of);
      learned_.remove(top.lane, top.layer);
    }
    if (learned_size_ >= capacity_) {
      const ranking::top top = learned_.largest(of);
      if (top.key <= keys[at.lane - shape.at]) continue;
      learned_.remove(top.lane, top.layer);
      --learned_size_;
    }
    learned_.insert(at.lane, at.layer);
    ++learned_size_;
  }
  return hits;
}

void net::visit(const index &of, const cubby_policy_visit &visit, uint32_t layer,
                const std::vector<place> &places, const ranking &real) {
  const double lru = lru_hits(visit);
  double really = 0;
  for (uint32_t i = 0; i < visit.used_count; ++i)
    really += real.holds(places[visit.used[i]].lane) ? 1u : 0u;
  const double learned = in_charge_ ? learned_hits(of, visit, layer, places) : really;
  uses_ += visit.used_count;
  behind_ += lru - really;
  const double rate = 1 / (memory_cycles * std::max(1u, of.layer_count()));
  lead_ += rate * ((learned - lru) / visit.used_count - lead_);
  const double cycle = visit.used_count * static_cast<double>(of.layer_count());
  if (!in_charge_ && lead_ < 0 && behind_ > behind_allowed * uses_ + 0.25 * cycle) {
    in_charge_ = true;
    ++takeovers_;
    learned_ = real;
    learned_.show_all();
    learned_size_ = learned_.size();
  } else if (in_charge_ && lead_ > lead_to_return) {
    in_charge_ = false;
  }
}

}  // namespace cubby::placement::moe
