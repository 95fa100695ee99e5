// No exception crosses the interface: what runs out of memory inside says so.
#pragma once

#include <exception>
#include <new>

#include "api/last_error.hpp"

namespace cubby::api {

template <class Body>
cubby_status guarded(const Body &body) noexcept {
  try {
    return body();
  } catch (const std::bad_alloc &) {
    error failure;
    failure.status = CUBBY_ERR_NO_MEMORY;
    failure.text = "out of memory";  // short enough to need none
    return keep_error(failure);
  } catch (const std::exception &) {
    error failure;
    failure.status =
        CUBBY_ERR_NO_MEMORY;  // the standard library's other refusals: lengths, threads
    return keep_error(failure);
  }
}

}  // namespace cubby::api
