// The net under the learned index: LRU on the same visits, with names alone. When the index has
// brought fewer hits than LRU would have, LRU takes over; when the index would do better again, it
// comes back. While LRU is in charge it is the index that goes on with names alone.
#pragma once

#include "placement/moe/ranking.hpp"
#include "placement/object_list.hpp"

namespace cubby::placement::moe {

/// Where an object stands among the lanes.
struct place {
  static constexpr uint32_t nowhere = ~uint32_t{0};
  uint32_t lane = 0, layer = nowhere;
};

class net {
 public:
  net(const index &of, uint32_t object_count, uint32_t capacity)
      : lru_(1, object_count), learned_(of), capacity_(capacity) {}

  [[nodiscard]] bool in_charge() const { return in_charge_; }
  [[nodiscard]] uint64_t takeovers() const { return takeovers_; }
  void set_capacity(uint32_t lockers) { capacity_ = lockers; }
  void all_changed() { learned_.all_changed(); }

  /// After the index has learned from the visit; `real` is what is resident before it.
  void visit(const index &of, const cubby_policy_visit &visit, uint32_t layer,
             const std::vector<place> &places, const ranking &real);
  [[nodiscard]] uint64_t bytes() const { return lru_.bytes() + learned_.bytes(); }

 private:
  uint32_t lru_hits(const cubby_policy_visit &visit);
  uint32_t learned_hits(const index &of, const cubby_policy_visit &visit, uint32_t layer,
                        const std::vector<place> &places);

  object_lists lru_;
  ranking learned_;
  uint32_t capacity_, learned_size_ = 0;
  bool in_charge_ = false;
  uint64_t takeovers_ = 0;
  double uses_ = 0, behind_ = 0;  // since the beginning: uses, and hits fewer than LRU's
  double lead_ = 0;               // of the index over LRU lately, a use
};

}  // namespace cubby::placement::moe
