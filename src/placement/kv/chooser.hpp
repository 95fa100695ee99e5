// Finds victims among the leaves of a set of blocks: the least of a pool that some drawn leaves
// join each time. What pool members are worth is looked up anew when they are the least, or by and
// by.
#pragma once

#include <array>

#include "placement/kv/blocks.hpp"

namespace cubby::placement::kv {

class chooser {
 public:
  static constexpr uint32_t pool_max = 32;

  explicit chooser(uint64_t seed) : prng_(seed) {}

  /// The least worth; CUBBY_NO_OBJECT when the set has no leaf that may leave.
  cubby_object choose(const block_set &of, blocks &known);
  /// Candidates of the pool beside that one, in no order, to an array of pool_max; how many.
  uint32_t others(const block_set &of, const blocks &known, cubby_object chosen,
                  cubby_object *to) const;
  /// A victim has left: its parent may be next.
  void left(cubby_object parent) { parent_ = parent; }

 private:
  static constexpr uint32_t drawn_max = 8;
  static constexpr uint32_t look_up_every_ms = 1000;

  struct candidate {
    uint64_t key;  // its index, then when it was used last: in the order of whole numbers
    cubby_object object;
    uint32_t round;  // in which that was looked up
  };

  [[nodiscard]] candidate look_up(cubby_object object, blocks &known) const;
  void join(cubby_object object, blocks &known);
  void place(uint32_t at, const candidate &one);
  void look_up_all(const block_set &of, blocks &known);

  base::prng prng_;
  cubby_object parent_ = CUBBY_NO_OBJECT;
  uint32_t round_ = 0, looked_up_ms_ = 0;
  uint32_t size_ = 0;
  std::array<candidate, pool_max> pool_;  // [size_], the least last
};

}  // namespace cubby::placement::kv
