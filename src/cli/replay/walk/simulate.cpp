#include "cli/replay/walk/simulate.hpp"

namespace cubby_cli::replay {

outcome<simulated> simulate(const course &of, const simulation &how) {
  const auto one = make_walk(of, how);
  if (!one) return one.failure();
  while ((*one)->advance()) {
  }
  return (*one)->finish();
}

}  // namespace cubby_cli::replay
