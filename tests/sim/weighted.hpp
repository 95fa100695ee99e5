// One of several operations, drawn by its share.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/prng.hpp"

namespace sim {

template <class Actor>
struct weighted {
  uint32_t share;
  void (Actor::*what)();
};

template <class Actor, size_t Count>
void do_one(Actor &actor, cubby::base::prng &random, const weighted<Actor> (&all)[Count]) {
  uint64_t total = 0;
  for (const weighted<Actor> &one : all) total += one.share;
  uint64_t draw = random.below(total);
  for (const weighted<Actor> &one : all) {
    if (draw < one.share) return (actor.*one.what)();
    draw -= one.share;
  }
}

}  // namespace sim
