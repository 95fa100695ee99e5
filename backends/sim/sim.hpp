// The two backends of the simulator, for the simulator and tests alone: "sim-file", a disk that
// lies, and "sim-memory", memory behind a copy engine that fails. Both live in one world, handed to
// open() as cubby_backend_config.user; without one an instance makes a faultless world of its own,
// over real files.
#pragma once
#include <cubby/backend.h>

#include "sim/world.hpp"

const cubby_backend_ops *cubby_sim_file_backend();
const cubby_backend_ops *cubby_sim_memory_backend();
