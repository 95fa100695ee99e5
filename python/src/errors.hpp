// Errors of the C interface as exceptions of cubby.errors.
#pragma once

#include <nanobind/nanobind.h>

#include <string>

#include <cubby/cubby.h>

namespace pycubby {

namespace nb = nanobind;

// What went wrong, as the library said it. Each raise makes an exception of its own: one that was
// raised holds the frames that it went through, and with them whatever would hold it.
struct failure {
  cubby_status status = CUBBY_OK;
  cubby_error known{};
  std::string text;

  nb::object exception() const;
};

// This thread's last error, where it is of `status`.
failure last_failure(cubby_status status);
inline nb::object last_error(cubby_status status) { return last_failure(status).exception(); }
// The same with a sentence of our own and no fields.
nb::object plain_error(cubby_status status, const char *text);

// What a `with` does at its end. Is an exception on its way, whose frames may hold the buffers that
// stand in the way, then a BufferError does not take its place.
template <class Body>
void end_of_with(const nb::args &exit, const Body &body) {
  try {
    body();
  } catch (const nb::python_error &e) {
    if (exit.size() == 0 || exit[0].is_none() || !e.matches(PyExc_BufferError)) throw;
  }
}

[[noreturn]] void raise(const nb::object &error);
[[noreturn]] void raise_last(cubby_status status);
[[noreturn]] void raise_plain(cubby_status status, const char *text);

// For a gate that gave no way through.
[[noreturn]] void raise_refused(cubby_status status, const char *what);

inline void check(cubby_status status) {
  if (status != CUBBY_OK) raise_last(status);
}

}  // namespace pycubby
