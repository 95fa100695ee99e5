// Errors of the C interface as exceptions of cubby.errors.
#pragma once

#include <nanobind/nanobind.h>

#include <cubby/cubby.h>

namespace pycubby {

namespace nb = nanobind;

// An exception object of the class of `status`, with the sentence and the fields of this thread's
// last error.
nb::object last_error(cubby_status status);
// The same with a sentence of our own and no fields.
nb::object plain_error(cubby_status status, const char *text);

[[noreturn]] void raise(const nb::object &error);
[[noreturn]] void raise_last(cubby_status status);
[[noreturn]] void raise_plain(cubby_status status, const char *text);

// For a gate that gave no way through.
[[noreturn]] void raise_refused(cubby_status status, const char *what);

inline void check(cubby_status status) {
  if (status != CUBBY_OK) raise_last(status);
}

}  // namespace pycubby
