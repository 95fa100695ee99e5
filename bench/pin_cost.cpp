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
  const resident house;
  for (int i = 0; i < rounds; i++) house.pin_and_unpin(0, size);
  return 0;
}
