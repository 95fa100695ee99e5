// Holds have one owner.
#include <cubby/cubby.hpp>

cubby::pins pass(cubby::pins held) { return held; }

void use(cubby::pins held, cubby::runtime rt, cubby::completion_queue queue) {
  cubby::pins moved = pass(std::move(held));
  cubby::runtime other = std::move(rt);
  cubby::completion_queue taken = std::move(queue);
#ifdef OFFENCE_1  // deleted
  cubby::pins copy = moved;
#endif
#ifdef OFFENCE_2  // deleted
  held = moved;
#endif
#ifdef OFFENCE_3  // deleted
  cubby::runtime copy = other;
#endif
#ifdef OFFENCE_4  // deleted
  cubby::completion_queue copy = taken;
#endif
#ifdef OFFENCE_5  // no matching | read-only | const
  *moved.bytes(0).begin() = std::byte{1};
#endif
}
