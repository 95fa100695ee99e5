// trace.h beside cubby.hpp, which has renamed the runtime's handle.
#pragma once

#include <cubby/cubby.hpp>

#define cubby cubby_handle  // NOLINT(readability-identifier-naming)
#include <cubby/trace.h>
#undef cubby
