#include "placement/lru.hpp"

#include "base/assert.hpp"

namespace cubby::placement {

lru::lru(const policy_config &config) : nodes_(config.object_count) {}

void lru::link_newest(object who) {
  node &n = nodes_[who];
  n.older = newest_;
  n.newer = no_object;
  (newest_ == no_object ? oldest_ : nodes_[newest_].newer) = who;
  newest_ = who;
}

void lru::unlink(object who) {
  node &n = nodes_[who];
  (n.older == no_object ? oldest_ : nodes_[n.older].newer) = n.newer;
  (n.newer == no_object ? newest_ : nodes_[n.newer].older) = n.older;
  n.older = n.newer = no_object;
}

void lru::visit(std::span<const object> used) {
  for (const object who : used) {
    CUBBY_ASSERT(who < nodes_.size());
    if (!nodes_[who].resident) continue;
    unlink(who);
    link_newest(who);
  }
}

void lru::inserted(object who) {
  CUBBY_ASSERT(who < nodes_.size());
  if (nodes_[who].resident) unlink(who);
  nodes_[who].resident = true;
  link_newest(who);
}

void lru::removed(object who) {
  CUBBY_ASSERT(who < nodes_.size());
  if (!nodes_[who].resident) return;
  if (cursor_ == who) cursor_ = nodes_[who].newer;
  unlink(who);
  nodes_[who].resident = false;
}

void lru::begin_victims() { cursor_ = oldest_; }

object lru::next_victim() {
  const object who = cursor_;
  if (who != no_object) cursor_ = nodes_[who].newer;
  return who;
}

void lru::grow(uint32_t object_count) {
  if (object_count > nodes_.size()) nodes_.resize(object_count);
}

uint64_t lru::state_bytes() const { return sizeof(*this) + nodes_.capacity() * sizeof(node); }

}  // namespace cubby::placement
