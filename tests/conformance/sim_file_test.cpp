// Without a world the simulated disk stands over real files, so the suite applies as it is.
#include "conformance/file_suite.hpp"
#include "sim/sim.hpp"

const cubby_backend_ops *conformance::backend() { return cubby_sim_file_backend(); }
