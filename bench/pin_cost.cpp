// Pins and unpins a set of SIZE resident lockers ROUNDS times; pin_cost.py counts what that takes.
#include <cstdlib>

#include "resident.hpp"

int main(int argc, char **argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: pin_cost SIZE ROUNDS\n");
    return 2;
  }
  const auto size = static_cast<uint32_t>(std::atoi(argv[1]));
  const int rounds = std::atoi(argv[2]);
  if (size < 1 || size > 8 || rounds < 1) return 2;
  const resident runtime(CUBBY_PUMP_CALLER);
  for (int i = 0; i < rounds; i++) {
    runtime.pin_and_unpin(0, size);
    // The policies hear of each visit; none is dropped, which would be cheaper.
    if (i % 64 == 0) resident::need(cubby_poll(runtime.rt, 0, nullptr) == CUBBY_OK);
  }
  return 0;
}
