// cubby.h and trace.h for the inside of the library. In C the runtime's handle is called `cubby`,
// which is also our namespace; inside, the handle goes by the name cubby_handle so that both can
// stand. Functions with C linkage are not affected. What is declared here is all that the library
// exports.
#pragma once

#pragma GCC visibility push(default)
#define cubby cubby_handle  // NOLINT(readability-identifier-naming)
#include <cubby/cubby.h>
#include <cubby/trace.h>
#undef cubby
#pragma GCC visibility pop
