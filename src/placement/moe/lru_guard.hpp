// Bounds the regret of the learned index against LRU: a shadow LRU on the same visits, with names
// alone. What LRU holds and the tier does not is all that can be lost when LRU decides from here
// on, each of them once. The index decides while its lead over LRU pays for that, so the lead never
// falls below what is allowed.
#pragma once

#include "placement/moe/ranking.hpp"
#include "placement/object_list.hpp"

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
  [[nodiscard]] uint16_t layer(cubby_object object) const { return layers_[object]; }
  [[nodiscard]] bool known(cubby_object object) const { return layers_[object] != nowhere; }
  [[nodiscard]] uint32_t count() const { return static_cast<uint32_t>(layers_.size()); }
  [[nodiscard]] uint64_t bytes() const { return layers_.capacity() * sizeof(uint16_t); }

 private:
  std::vector<uint16_t> layers_;
};
inline uint32_t lane_of(const layer_shape &shape, cubby_object object) {
  return shape.at + (object - shape.first);
}
inline cubby_object object_of(const layer_shape &shape, uint32_t lane) {
  return shape.first + (lane - shape.at);
}

class lru_guard {
 public:
  lru_guard(const index &of, uint32_t capacity);

  /// LRU decides in this round: there is nothing left that may be lost.
  [[nodiscard]] bool decides() const { return decides_; }
  [[nodiscard]] uint64_t takeovers() const { return takeovers_; }
  void changed(uint32_t layer) { spare_.changed(layer); }
  void all_changed() { spare_.all_changed(); }
  /// Another budget, or other costs.
  void change(const index &of, const ranking &real, uint32_t capacity);

  void visit(const index &of, const cubby_policy_visit &visit, uint32_t layer, const ranking &real);
  void inserted(const index &of, uint32_t lane, uint32_t layer);
  void removed(const index &of, uint32_t lane, uint32_t layer);

  void begin_round();
  void end_round() { spare_.show_all(); }
  /// LRU names victims: those first that it would have given up already, the least worth before
  /// the others, then the least recent. A resident's lane; CUBBY_NO_OBJECT: no more.
  uint32_t next(const index &of, const ranking &real);
  [[nodiscard]] uint64_t bytes() const { return lru_.bytes() + spare_.bytes(); }

 private:
  static constexpr uint8_t held_by_lru = 0;

  [[nodiscard]] bool lru_holds(uint32_t lane) const { return lru_.list_of(lane) == held_by_lru; }
  /// LRU takes those that it does not hold.
  void fetch(const index &of, const cubby_policy_visit &visit, uint32_t layer, const ranking &real);
  [[nodiscard]] uint32_t room() const;
  void excuse();
  void forget_oldest(const index &of, const ranking &real);

  object_lists lru_;              // one list, of lanes
  ranking spare_;                 // residents that LRU would have given up
  uint32_t capacity_, walk_ = 0;  // walk: the next lane of a round
  uint32_t held_ = 0, fits_ = 0;  // residents; the most of them since an eviction was needed
  bool decides_ = false, walking_ = false;
  uint64_t takeovers_ = 0;
  // In hits: the lead over LRU and what it may fall to, since the beginning; and how many of those
  // that LRU holds are not resident.
  double lead_ = 0, allowed_, missing_ = 0;
  double unavoidable_ = 0;  // of what is missing, as the tier is
};

}  // namespace cubby::placement::moe
