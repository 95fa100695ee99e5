// Holds have one owner.
#include <cubby/cubby.hpp>

cubby::pins pass(cubby::pins held) { return held; }

void use(cubby::pins held, cubby::runtime rt, cubby::completion_queue queue,
         cubby::reservation frames, cubby::lease keys) {
  cubby::pins moved = pass(std::move(held));
  cubby::runtime other = std::move(rt);
  cubby::completion_queue taken = std::move(queue);
  cubby::reservation blocks = std::move(frames);
  cubby::lease found = std::move(keys);
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
#ifdef OFFENCE_5  // deleted
  cubby::reservation copy = blocks;
#endif
#ifdef OFFENCE_6  // deleted
  cubby::lease copy = found;
#endif
#ifdef OFFENCE_7  // no matching | read-only | const
  *moved.bytes(0).begin() = std::byte{1};
#endif
}
