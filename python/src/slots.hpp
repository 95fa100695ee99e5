// Slot tables: where kernels find the lockers of a bank by number.
#pragma once

#include <nanobind/nanobind.h>

#include "handles.hpp"

namespace pycubby {

// Bank.slots, and what it answers.
void bind_slots(nb::module_ &m, nb::class_<bank> &c);

}  // namespace pycubby
