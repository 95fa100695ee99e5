// The net under the learned index: LRU on the same visits, with names alone. When the index has
// brought fewer hits than LRU would have, LRU takes over; when the index would do better again, it
// comes back. While LRU is in charge it is the index that goes on with names alone.
#pragma once

#include "placement/moe/ranking.hpp"

namespace cubby::placement::moe {

/// Which layer an object is of; with it, where it stands among the lanes.
class places {
 public:
  static constexpr uint16_t nowhere = 0xFFFF;

  places(const index &of, uint32_t object_count) : layers_(object_count, nowhere) {
    for (uint32_t l = 0; l < of.layer_count(); ++l)
      std::fill_n(layers_.begin() + of.layer(l).first, of.layer(l).experts,
                  static_cast<uint16_t>(l));
  }
  [[nodiscard]] uint16_t layer(cubby_object who) const { return layers_[who]; }
  [[nodiscard]] bool known(cubby_object who) const { return layers_[who] != nowhere; }
  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(layers_.size()); }
  [[nodiscard]] uint64_t bytes() const { return layers_.capacity() * sizeof(uint16_t); }

 private:
  std::vector<uint16_t> layers_;
};
inline uint32_t lane_of(const layer_shape &shape, cubby_object who) {
  return shape.at + (who - shape.first);
}
inline cubby_object object_of(const layer_shape &shape, uint32_t lane) {
  return shape.first + (lane - shape.at);
}

/// Lanes by recency, the set of an LRU.
class recency {
 public:
  static constexpr uint32_t none = ~uint32_t{0};

  explicit recency(uint32_t lane_count) : links_(lane_count), held_(lane_count) {}

  [[nodiscard]] bool holds(uint32_t lane) const { return held_[lane]; }
  [[nodiscard]] uint32_t size() const { return size_; }
  [[nodiscard]] uint32_t oldest() const { return oldest_; }
  [[nodiscard]] uint32_t newer(uint32_t lane) const { return links_[lane].newer; }
  [[nodiscard]] const lane_bits &held() const { return held_; }
  void renew(uint32_t lane) {
    if (lane == newest_) return;
    if (holds(lane)) take(lane);
    links_[lane] = {newest_, none};
    (newest_ == none ? oldest_ : links_[newest_].newer) = lane;
    newest_ = lane;
    held_.set(lane);
    ++size_;
  }
  void take(uint32_t lane) {
    const link l = links_[lane];
    (l.older == none ? oldest_ : links_[l.older].newer) = l.newer;
    (l.newer == none ? newest_ : links_[l.newer].older) = l.older;
    held_.clear(lane);
    --size_;
  }
  [[nodiscard]] uint64_t bytes() const {
    return links_.capacity() * sizeof(link) + held_.bytes().capacity();
  }

 private:
  struct link {
    uint32_t older, newer;
  };
  std::vector<link> links_;
  lane_bits held_;
  uint32_t oldest_ = none, newest_ = none, size_ = 0;
};

class net {
 public:
  net(const index &of, uint32_t capacity)
      : lru_(of.lane_count()), learned_(of), capacity_(capacity) {}

  [[nodiscard]] bool in_charge() const { return in_charge_; }
  [[nodiscard]] uint64_t takeovers() const { return takeovers_; }
  void set_capacity(uint32_t lockers) { capacity_ = lockers; }
  void changed(uint32_t layer) { learned_.changed(layer); }
  void all_changed() { learned_.all_changed(); }

  /// After the index has learned from the visit; `real` is what is resident before it.
  void visit(const index &of, const cubby_policy_visit &visit, uint32_t layer, const ranking &real);

  /// LRU names victims: those first that it would have given up already, then the least recent.
  void begin_round() {
    gone_at_ = 0;
    walking_ = false;
  }
  /// The next resident's lane; recency::none: no more.
  uint32_t next(const ranking &real);
  [[nodiscard]] uint64_t bytes() const { return lru_.bytes() + learned_.bytes(); }

 private:
  uint32_t lru_hits(const cubby_policy_visit &visit, const layer_shape &shape);
  uint32_t learned_hits(const index &of, const cubby_policy_visit &visit, uint32_t layer);

  recency lru_;
  ranking learned_;
  uint32_t capacity_, learned_size_ = 0;
  uint32_t gone_at_ = 0, walk_ = 0;  // of a round: the next byte of lanes, the next lane
  bool in_charge_ = false, walking_ = false;
  uint64_t takeovers_ = 0;
  double uses_ = 0, behind_ = 0;  // since the beginning: uses, and hits fewer than LRU's
  double lead_ = 0;               // of the index over LRU lately, a use
};

}  // namespace cubby::placement::moe
