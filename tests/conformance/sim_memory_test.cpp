#include "conformance/memory_suite.hpp"
#include "sim/sim.hpp"

const cubby_backend_ops *conformance::backend() { return cubby_sim_memory_backend(); }
