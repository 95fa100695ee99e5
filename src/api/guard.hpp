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
    return keep_plain_error(CUBBY_ERR_NO_MEMORY, no_memory_text);
  } catch (const std::exception &) {
    // The standard library's other refusals: lengths, threads.
    return keep_plain_error(CUBBY_ERR_NO_MEMORY,
                            "the request is larger than can be worked on, or no thread could be "
                            "had; ask for less at once, or raise ulimit -u");
  }
}

}  // namespace cubby::api
