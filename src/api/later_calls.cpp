// Calls of the interface that are not built yet: they say so. tests/unit/api lists them; the list
// only shrinks.
#include "api/runtime.hpp"

using namespace cubby;
using namespace cubby::api;

namespace {

cubby_status later(const char *call, const char *what) {
  return keep_error(fail(CUBBY_ERR_NOT_SUPPORTED,
                         "%s: %s not built yet; lockers of adopted or mapped files, and KV blocks "
                         "by cubby_put and cubby_get, are",
                         call, what));
}

}  // namespace

cubby_status cubby_gather(cubby_handle *rt, cubby_bank, const uint64_t *, uint32_t,
                          const cubby_span *, const cubby_how *, cubby_ticket *) {
  CUBBY_ENTER(rt);
  return later("cubby_gather", "table rows are");
}
